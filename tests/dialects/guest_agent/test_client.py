"""The client, against servers that misbehave (specification A11); the blocking one and the other do the same."""

import asyncio
import json
import socket
import struct
import threading
from pathlib import Path

import pytest

from ctld.dialects.guest_agent import KnownListener, asend_command, send_command

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/guestagent_client.json").read_text())["cases"]
LOST = '{"Status":103,"StatusMessage":"Connection error"}'
ANSWER = b'{"Status":0}'


@pytest.fixture(params=["blocking", "asynchronous"])
def ask(request):
    async def ask(data, where, timeout=5.0):
        if request.param == "blocking":
            return await asyncio.to_thread(send_command, data, where, timeout)
        return await asend_command(data, where, timeout)

    return ask


def misbehave(how, sock, done):
    """Be the server of one connection."""
    client, _ = sock.accept()
    with client:
        if how == "close_unread":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            while not client.recv(1, socket.MSG_PEEK):
                pass
            return
        client.recv(65536)
        if how == "fragmented":
            for i in range(len(ANSWER)):
                client.send(ANSWER[i : i + 1])
        elif how in ("normal", "keeps_open"):
            client.send(ANSWER)
        if how in ("keeps_open", "never_answers"):
            done.wait(10)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
async def test_vectors(case, ask, path):
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        server = threading.Thread(target=misbehave, args=(case["name"], sock, done))
        server.start()
        try:
            answer = await ask(case["request"].encode(), path, 0.2 if case["seconds"] > 1 else 5.0)
        finally:
            done.set()
            await asyncio.to_thread(server.join)
    assert answer.decode() == case["result"]


@pytest.mark.parametrize("where", ["/no/such/socket", "a\0b", 77])
async def test_whatever_goes_wrong_is_an_answer(ask, where):
    assert (await ask(b"{}", where)).decode() == LOST


async def test_known_listeners_are_at_their_default_path(ask):
    assert (await ask(b"{}", KnownListener.CORE_PLUGIN)).decode() == LOST


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_a3_without_time_nothing_is_asked(ask, monitoring, path, timeout):
    async with monitoring():
        assert (await ask(b'{"Command":"ok"}', path, timeout)).decode() == LOST


async def test_a_real_monitor(ask, monitoring, path):
    request = b'{"Command":"echo","x":"' + b"y" * 500_000 + b'"}'
    async with monitoring():
        assert await ask(request, path) == request


async def test_an_answer_without_an_end_is_as_good_as_none(ask, monitoring, path, monkeypatch):
    for module in ("client", "asynchronous"):
        monkeypatch.setattr(f"ctld.dialects.guest_agent.{module}.MAX_ANSWER", 1000)
    async with monitoring():
        request = b'{"Command":"echo","Data":"%s"}'
        fits = request % (b"x" * (1000 - len(request) + 2))
        assert await ask(fits, path) == fits
        assert await ask(request % (b"x" * 1000), path) == LOST.encode()
