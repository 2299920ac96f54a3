"""What attacks are made with: scripted daemons and runs of ctlctl."""

from tests.ctlctl.conftest import run, serve, terminal

__all__ = ["run", "serve", "terminal"]
