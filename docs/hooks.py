"""What mkdocs does to pages while it builds them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever is installed
sys.path.insert(0, str(Path(__file__).parent))

import api

__all__ = ["on_page_markdown"]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the reference of the Python API."""
    return api.fill(markdown)
