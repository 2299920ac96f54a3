"""The reference of the Python API: what it makes of docstrings, and that it forgets nothing."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ctld
import ctld.testing
from ctld.dialects import guest_agent

DOCS = Path(__file__).parents[2] / "docs"
SAMPLE = '''
from contextlib import asynccontextmanager
from dataclasses import dataclass

_HIDDEN = object()


@dataclass
class Jar:
    """A jar.

    Attributes:
        sort: What is in it, which
            may be a long story.
    """

    sort: str
    full: "bool" = True

    @property
    def label(self) -> str:
        """What stands on it."""

    @classmethod
    def make(cls, sort="plum", /, *names: str, left_open: object = _HIDDEN, many: int = 3, some_more_words: int = 4):
        """Make one.

        It takes a while.

        Args:
            sort: The sort.

        Raises:
            ValueError: No.
        """

    def _hidden(self):
        """Nobody's business."""


@asynccontextmanager
async def cellar(jars: "list[Jar]"):
    """Be in the cellar."""
'''


def reference(folder, *names):
    script = f"import sys; sys.path[:0] = [{str(DOCS)!r}, '.']\nimport api\nprint(api.fill(sys.argv[1]))"
    text = "".join(f"<!-- api: {name} -->\n" for name in names)
    done = subprocess.run([sys.executable, "-c", script, text], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "sample.py").write_text(SAMPLE)
    return tmp_path


def test_a_class_as_markdown(sample):
    text = reference(sample, "sample.Jar")
    assert text.startswith(
        "### `sample.Jar`\n\n```pyi\nclass Jar:\n    sort: str\n    full: 'bool' = True\n```\n\nA jar.\n"
    )
    assert "- `sort`: What is in it, which may be a long story.\n- `label`: What stands on it.\n" in text
    assert "_hidden" not in text
    method = text.partition("#### `Jar.make`\n")[2]
    assert (
        "@classmethod\ndef make(\n    cls,\n    sort='plum',\n    /,\n    *names: str,\n    left_open: object = ...,\n"
        in method
    )
    assert "\n\nMake one.\n\nIt takes a while.\n" in method
    assert "**Arguments**\n\n- `sort`: The sort.\n" in method
    assert "**Raises**\n\n- `ValueError`: No.\n" in method


def test_a_function_as_markdown(sample):
    text = reference(sample, "sample.cellar")
    assert text.startswith(
        "### `sample.cellar`\n\n```pyi\n@asynccontextmanager\nasync def cellar(jars: list[Jar]): ...\n```\n"
    )


def test_every_public_name_is_described():
    page = (DOCS / "reference" / "api.md").read_text()
    for name in ctld.__all__:
        value = getattr(ctld, name)
        if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception)):
            assert f"<!-- api: ctld.{name} -->" in page, name
    for name in ctld.testing.__all__:
        assert f"<!-- api: ctld.testing.{name} -->" in page, name


def test_every_name_for_authors_of_agents_is_described():
    page = (DOCS / "reference" / "guest-agent.md").read_text()
    for name in guest_agent.__all__:
        if inspect.isroutine(value := getattr(guest_agent, name)) or inspect.isclass(value):
            assert f"<!-- api: ctld.dialects.guest_agent.{name} -->" in page, name


@pytest.mark.parametrize("page", ["api.md", "guest-agent.md"])
def test_the_page_can_be_filled_in(page):
    names = re.findall(r"<!-- api: (\S+) -->", (DOCS / "reference" / page).read_text())
    text = reference(DOCS.parent, *names)
    assert all(f"### `{name}`" in text for name in names)
    for signature in re.findall(r"```pyi\n(.*?)```", text, re.DOTALL):
        ast.parse(signature)
