"""The generated parts of the reference are those that the code makes."""

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).parents[2] / "docs" / "generate.py"


def generate(*arguments):
    return subprocess.run([sys.executable, GENERATOR, *arguments], capture_output=True, text=True, timeout=60)


def test_the_reference_is_fresh():
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_what_is_out_of_date_is_found_and_made_anew(tmp_path):
    page = tmp_path / "errors.md"
    page.write_text("before\n<!-- generated: errors.slugs -->\nstale row\n<!-- end -->\nafter\n")
    done = generate("--check", tmp_path)
    assert done.returncode == 1
    assert "out of date: errors.md" in done.stderr
    assert "stale row" in page.read_text()
    assert generate(tmp_path).returncode == 0
    assert "stale row" not in page.read_text()
    assert "| `not-found` | `NotFound` |" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- end -->\nafter\n")
    assert generate("--check", tmp_path).returncode == 0
