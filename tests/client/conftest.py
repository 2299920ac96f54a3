"""Servers of which a test says every byte."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client.scripted import BANNER, Peer, Scripted, Serve


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server that runs a script for each of its connections."""
    running: list[Scripted] = []

    def start(script: Callable[[Peer], object]) -> Scripted:
        path = tmp_path / f"{len(running)}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(64)
        running.append(Scripted(listener, f"unix:{path}", script))
        return running[-1]

    yield start
    for scripted in running:
        scripted.stop()


@pytest.fixture
def ponging(serve: Serve) -> Scripted:
    """A server that answers everything with what it was asked, and knows ids."""

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        while (request := peer.receive()) is not None:
            if "cancel" not in request:
                peer.send({"status": True, "response": request} | ({"id": request["id"]} if "id" in request else {}))

    return serve(script)
