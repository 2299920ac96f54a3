"""The version of ctld: one place, read by the build, the banner and the CLI."""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds, and this runs at every call of ctlctl
if TYPE_CHECKING:
    from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
