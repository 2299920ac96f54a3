"""Every code block of the README and of every page runs; `tests/docs/blocks.py` says how."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, BlockFailed, Page, blocks_of, matches, needs_of, steps_of

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-docs-") as folder:
        yield Path(folder)


@pytest.fixture
def page(folder):
    return Page(folder)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_runs(path, page):
    text = path.read_text()
    for program in needs_of(text):
        if not shutil.which(program):
            assert os.environ.get("CTLD_INTEROP") != "required", f"{program} is missing"
            pytest.skip(f"{program} is not installed")
    fences = sum(line.lstrip().startswith("```") for line in text.splitlines())
    assert page.run(text) * 2 >= fences, "a block was not recognised"


# The runner has to be able to fail.


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nraise SystemExit(3)\n```", "ended with 3"),
        ("```console\n$ echo a\nb\n```", "printed"),
        ("```console\n$ false\n```", "ended with 1"),
        ("```console\noutput\n```", "begins with a command"),
        ("```console\n$ false &\n```", "was never ready"),
        ("```sh\nmake no-such-target\n```", "no-such-target"),
        ("```sh\nrm -rf x\n```", "no call of make"),
        ("```wire\n--> {}\n```", "no daemon is listening"),
        ('```bytes title="/tmp/nobody"\n--> a\n```', "No such file"),
        ('```bytes title="127.0.0.1:7777"\n--> a\n```', "refused"),
        ('```bytes title="/tmp/x"\nhello\n```', "a line of a conversation begins with"),
        ("```bytes\n--> a\n```", "nobody knows how to run bytes"),
        ("```pyi\nx = = 1\n```", "invalid syntax"),
        ("```ini\n[Unit]\n```", "nobody knows how to run ini"),
        ("```ruby\nputs 1\n```", "nobody knows how to run ruby"),
        ("```\nx\n```", "a block without a language"),
        ("<!-- run: false -->", "ended with 1"),
        ("text\n\n    ```python\n    import nothing_like_it\n    ```", "No module named"),
    ],
)
def test_a_block_that_does_not_do_what_it_says(page, text, complaint):
    with pytest.raises(BlockFailed, match=complaint):
        page.run(text)


def test_a_configuration_that_is_none(page):
    with pytest.raises(Exception, match=r"untitled\.toml:1: demon: there is no such key"):
        page.run("```toml\n[demon]\n```")


def test_units_are_read_by_systemd_once_all_are_there(page):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    socket = '```ini title="a.socket"\n[Socket]\nListenStream=/run/a\n```\n'
    service = '```ini title="a.service"\n[Service]\nExecStart=/usr/bin/no-such-program\n```\n'
    page.run(socket + service)
    with pytest.raises(BlockFailed, match="Lisstream"):
        page.run(socket.replace("ListenStream", "Lisstream") + service)


def test_titles_make_files_and_tmp_is_the_folder(page, folder):
    page.run('```python title="a.py"\nprint("/tmp/x")\n```\n\n```console\n$ python a.py\n/tmp/x\n```')
    assert (folder / "a.py").read_text() == f'print("{folder}/x")\n'


def test_lines_and_indentation():
    text = "one\n\n```text\na\n```\n- item\n\n    ```console\n    $ x\n      y\n    ```\n"
    assert [(block.line, block.language, block.code) for block in blocks_of(text)] == [
        (3, "text", "a\n"),
        (8, "console", "$ x\n  y\n"),
    ]


def test_gaps_match_anything_and_nothing_else():
    assert matches("a...c\nd", "a b\nb c\nd\n")
    assert matches("a (b) [c]", "a (b) [c]")
    assert not matches("a...c", "a b")
    assert not matches("a", "a\nb")


def test_a_command_may_go_on_in_the_next_line():
    assert steps_of("$ a \\\n  b\nout\n$ c\n") == [("a \\\n  b", "out\n"), ("c", "")]
