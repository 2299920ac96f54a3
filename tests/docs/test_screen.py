"""The terminal's screen that pictures are drawn of."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def on_screen(text, what):
    script = f"import sys; sys.path.insert(0, {str(DOCS)!r})\nfrom screen import *\n"
    script += f"screen = Screen()\nscreen.write(sys.stdin.read())\nprint({what}, end='')"
    return subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("one\r\ntwo", "one\ntwo"),
        ("10%\r20%", "20%"),
        ("longer\rab\x1b[K", "ab"),
        ("first\r\nsecond\r\x1b[K\x1b[A\x1b[Kthird", "third\n"),
        ("a\nb", "a\n b"),
        ("\x1b[1mbold\x1b[0m \x1b[32mgreen\x1b[0m", "bold green"),
    ],
)
def test_what_can_be_read(written, shown):
    assert on_screen(written, "screen.text()").stdout == shown


@pytest.mark.parametrize("written", ["\x07", "\x1b[2J", "\x1b]0;title\x07"])
def test_what_it_does_not_know_is_no_silent_mistake(written):
    done = on_screen(written, "screen.text()")
    assert done.returncode != 0
    assert "the screen does not know" in done.stderr


def test_a_picture_of_it():
    written = "$ <tag> & \x1b[31mred\x1b[39m\x1b[1mbold\x1b[0m\r\n\r\nlast\r\n"
    picture = ET.fromstring(on_screen(written, "svg(screen.lines, 40, 'a <title>')").stdout)
    assert picture.findtext(f"{SVG}title") == "a <title>"
    rows = picture.findall(f"{SVG}g/{SVG}text")
    assert [["".join(span.itertext()) for span in row] for row in rows] == [["$ <tag> & ", "red", "bold"], ["last"]]
    _, red, bold = rows[0]
    assert red.get("fill") != bold.get("fill")
    assert bold.get("font-weight") == "bold"
    assert float(bold.get("x")) - float(red.get("x")) == pytest.approx(3 * 8.4, abs=0.1)
