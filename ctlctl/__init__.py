"""ctlctl: the command line for any daemon that speaks ctld's native protocol."""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, *, prog: str = "ctlctl", address: str | None = None) -> int:
    """Run the command line, for a daemon with a command of its own too.

    Args:
        argv: The arguments without the program's name; None: those of this process.
        prog: The program's name, in help and errors.
        address: Where the daemon listens, unless `-s` says otherwise; None: `CTLD_SOCKET`,
            else the default of this user.

    Returns:
        The exit status; the table is in `ctlctl.exits`.
    """
    from ctlctl.cli import run

    return run(argv, prog, address)
