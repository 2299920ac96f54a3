"""Manual pages from Markdown: what becomes of each element, and that groff finds no fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

PAGE = """# A page

First *line*,
and **second** with a [link](x.md) and `co-de`.

<!-- generated: something -->

## See also

- one, which
  goes on
- two

### Deeper

| key | type | what |
|---|---|---|
| `a` | text | either \\| or |

```console
$ echo 'x\\n'
.dots at the beginning
```

.dots here, too

<!-- man: skip -->

Nobody sees this.

<!-- man: go on -->
"""


def manual(text):
    script = f"import sys; sys.path.insert(0, {str(DOCS)!r})\nfrom roff import manual\n"
    script += "sys.stdout.write(manual('a-page', 5, 'what it is', 'x 1', sys.stdin.read()))"
    done = subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_element():
    assert manual(PAGE).splitlines() == [
        '.TH "A-PAGE" "5" "" "x 1" "File Formats"',
        ".SH NAME",
        "a\\-page \\- what it is",
        ".SH DESCRIPTION",
        ".PP",
        "First \\fIline\\fR, and \\fBsecond\\fR with a link and \\fBco\\-de\\fR.",
        ".SH SEE ALSO",
        ".IP \\(bu 2",
        "one, which goes on",
        ".IP \\(bu 2",
        "two",
        ".SS Deeper",
        ".TP",
        "\\fBa\\fR (text)",
        "either | or",
        ".PP",
        ".RS 4",
        ".EX",
        "$ echo \\(aqx\\en\\(aq",
        "\\&.dots at the beginning",
        ".EE",
        ".RE",
        ".PP",
        "\\&.dots here, too",
    ]


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_shows_what_was_written(tmp_path):
    path = tmp_path / "page.5"
    path.write_text(manual(PAGE))
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", "-ww", path], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert "$ echo 'x\\n'\n" in done.stdout
    assert " .dots at the beginning\n" in done.stdout
