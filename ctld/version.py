"""The version of ctld: one place, read by the build, the banner and the CLI."""

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
