"""Daemons to talk to: scripted ones, and a framework's worth of one; and ways to run ctlctl."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.conftest import serve
from tests.client.scripted import Serve
from tests.ctlctl.running import Run, Terminal

__all__ = ["run", "serve", "terminal"]


@pytest.fixture
def run(serve: Serve, capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(serve, capfd)


@pytest.fixture
def terminal() -> Iterator[Any]:
    made: list[Terminal] = []

    def start(*argv: str, **settings: Any) -> Terminal:
        made.append(Terminal(*argv, **settings))
        return made[-1]

    yield start
    for each in made:
        each.close()
