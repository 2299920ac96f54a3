"""The images of the README are those that a run of ctlctl and the project's files make."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


@pytest.mark.parametrize("script", ["picture.py", "badges.py"])
def test_they_are_fresh(script):
    command = [sys.executable, ROOT / "docs" / script, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_images_that_are_there():
    text = (ROOT / "README.md").read_text()
    for path in IMAGES.glob("*.svg"):
        assert f"(docs/images/{path.name})" in text
        ET.parse(path)
    assert text.count("](docs/images/") == len(list(IMAGES.glob("*.svg")))
