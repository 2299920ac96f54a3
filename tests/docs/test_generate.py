"""The generated parts of the reference are those that the code makes."""

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).parents[2] / "docs" / "generate.py"


def generate(script, *arguments):
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=60)


def test_the_reference_is_fresh():
    done = generate(GENERATOR, "--check")
    assert done.returncode == 0, done.stderr


def test_what_is_out_of_date_is_found_and_made_anew(tmp_path):
    # A copy of the script works on the pages beside it.
    script = tmp_path / "docs" / "generate.py"
    page = tmp_path / "docs" / "reference" / "errors.md"
    page.parent.mkdir(parents=True)
    root = str(GENERATOR.parents[1])
    script.write_text(GENERATOR.read_text().replace("str(Path(__file__).parents[1])", repr(root)))
    page.write_text("before\n<!-- generated: errors.slugs -->\nstale row\n<!-- end -->\nafter\n")
    done = generate(script, "--check")
    assert done.returncode == 1
    assert "out of date: errors.md" in done.stderr
    assert "stale row" in page.read_text()
    assert generate(script).returncode == 0
    assert "stale row" not in page.read_text()
    assert "| `not-found` | `NotFound` |" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- end -->\nafter\n")
    assert generate(script, "--check").returncode == 0
