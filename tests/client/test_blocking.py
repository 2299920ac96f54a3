"""ctld.client.blocking: a call is a function call."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ctld.client import Client, Update
from ctld.errors import Busy, Cancelled, RemoteProtocolError
from tests.client.scripted import BANNER, Peer, Scripted, Serve


@pytest.fixture
def connect(serve: Serve) -> Iterator[Any]:
    """Connect to a server that answers each request with the next batch of messages."""
    clients: list[Client] = []

    def start(*batches: list[Any]) -> Client:
        def script(peer: Peer) -> None:
            peer.send(BANNER)
            for batch in batches:
                if peer.receive() is not None:
                    peer.send(*batch)
            peer.until_closed()

        clients.append(Client(serve(script).address))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def response(value: Any) -> dict[str, Any]:
    return {"status": True, "response": value}


def item(value: Any) -> dict[str, Any]:
    return {"status": True, "item": value}


def progress(value: Any) -> dict[str, Any]:
    return {"status": True, "progress": value}


def test_a_call_returns_its_result(ponging: Scripted) -> None:
    with Client(ponging.address) as client:
        assert client.call("x", {"a": 1}) == {"cmd": "x", "opts": {"a": 1}}
        assert client.call("x", deadline=5) == {"cmd": "x", "opts": {}, "deadline": 5}
        assert client.call("x", detach=True) == {"cmd": "x", "opts": {}, "detach": True}
        assert list(client.stream("x")) == [{"cmd": "x", "opts": {}, "stream": True}]


def test_progress_is_reported_or_skipped(connect: Any) -> None:
    seen: list[Update] = []
    client = connect([progress("a"), progress("b"), response(1)], [progress("c"), response(2)])
    assert client.call("x", on_progress=seen.append) == 1
    assert client.call("x") == 2
    assert [update.message for update in seen] == ["a", "b"]


def test_an_error_of_the_callback_ends_the_call_at_once(connect: Any) -> None:
    client = connect([progress("a"), progress("b"), response(1)])

    def fail(update: Update) -> None:
        raise KeyError(update.message)

    with pytest.raises(KeyError) as caught:
        client.call("x", on_progress=fail)
    assert caught.value.__traceback__ is not None, "it holds the frames, and must not hold the call"
    assert client.call("x") == 1


def test_typed_results(connect: Any) -> None:
    client = connect([response(["a"])], [response(["a"])], [item("1"), response(None)], [item("x"), response(None)])
    assert client.call("x", result=set[str]) == {"a"}
    with pytest.raises(RemoteProtocolError, match="the result of x is not as expected"):
        client.call("x", result=dict[str, str])
    assert list(client.stream("x", result=str)) == ["1"]
    with pytest.raises(RemoteProtocolError, match="not as expected"):
        list(client.stream("x", result=int))


def test_a_result_of_the_wrong_type_leaves_the_connection_usable(connect: Any) -> None:
    client = connect([response("a")], [response("b")])
    with pytest.raises(RemoteProtocolError):
        client.call("x", result=int)
    assert client.call("x") == "b"


@pytest.mark.parametrize(
    ("batch", "items"),
    [
        ([item(1), progress("p"), item(None), response(None)], [1, None]),
        ([response(None)], []),
        ([response([1, 2])], [1, 2]),
        ([response({"a": 1})], [{"a": 1}]),
    ],
    ids=["items", "none", "a whole list", "one value"],
)
def test_n4_items(connect: Any, batch: list[Any], items: list[Any]) -> None:
    assert list(connect(batch).stream("x")) == items


def test_items_come_before_the_failure(connect: Any) -> None:
    seen: list[Any] = []
    client = connect([item(1), progress("p"), {"status": False, "message": "m", "code": "busy"}])
    stream = client.stream("x", on_progress=seen.append)
    assert next(stream) == 1
    with pytest.raises(Busy):
        next(stream)
    assert [update.message for update in seen] == ["p"]


def test_a_stream_can_be_cancelled(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send(item(1))
        assert peer.receive() == {"cancel": None}
        peer.send({"status": False, "message": "stopped", "code": "cancelled"})

    with Client(serve(script).address) as client:
        stream = client.stream("x")
        assert next(stream) == 1
        assert client.cancel()
        with pytest.raises(Cancelled):
            next(stream)


def test_a_stream_that_is_left_early_makes_room_for_the_next_call(connect: Any) -> None:
    client = connect([item(1), item(2), response(None)])
    for value in client.stream("x"):
        assert value == 1
        break
    assert list(client.stream("x")) == [1, 2]


def test_the_import_needs_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); from ctld.client import Client; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "msgspec", "orjson", "rich", "dataclasses", "argparse", "socket", "ssl"} & set(loaded)
