"""What mkdocs does to pages while it builds them."""

import sys
from pathlib import Path

__all__ = ["on_page_markdown", "on_pre_build"]

_HERE = Path(__file__).parent


def on_pre_build(**_: object) -> None:
    """Describe this checkout, whatever is installed; when it has loaded a hook, mkdocs restores the path."""
    sys.path[:0] = [str(_HERE), str(_HERE.parent)]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the reference of the Python API."""
    from api import fill

    return fill(markdown)
