"""Daemons to talk to: scripted ones, and a framework's worth of one."""

from tests.client.conftest import serve

__all__ = ["serve"]
