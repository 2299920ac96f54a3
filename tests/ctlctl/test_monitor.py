"""ctlctl.monitor: events as they happen."""

import json
import signal
import subprocess
from typing import Any

import pytest

from ctlctl.exits import UsageError
from ctlctl.human import clock
from ctlctl.monitor import event_line, subscription
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, response

EVENT = {"type": "state", "opts": {"id": "vm 1", "age": 3}, "seq": 7, "time": 1e9}


def test_a_line() -> None:
    assert event_line(EVENT) == f"{clock(1e9)} state id=vm 1 age=3 s"
    assert event_line({"type": "\x1b", "opts": {"\x1b": "\x1b\n"}, "time": True}) == "- \\u001b \\u001b=\\u001b"
    assert event_line({"opts": None}) == "- None"
    assert "\x1b[1mstate\x1b[0m id=" in event_line(EVENT, colour=True)


@pytest.mark.parametrize(
    ("words", "opts"),
    [
        ("", {}),
        ("a b", {"type": ["a", "b"]}),
        ("a id=x id=5 up=true", {"type": ["a"], "opts": {"id": ["x", "5", 5], "up": ["true", True]}}),
        ("x=", {"opts": {"x": [""]}}),
        ("x=[1] y=07", {"opts": {"x": ["[1]"], "y": ["07"]}}),
        ("--since 5", {"since": 5}),
        ("--since=5 a", {"type": ["a"], "since": 5}),
    ],
)
def test_n6_what_is_subscribed_to(words: str, opts: dict[str, Any]) -> None:
    assert subscription(words.split()) == opts


@pytest.mark.parametrize("words", ["--since", "--since=x", "--since -5", "--nope", "--since ٣"])
def test_mistakes(words: str) -> None:
    with pytest.raises(UsageError):
        subscription(words.split())


def events(serve: Serve, *messages: Any, got: list[Any] | None = None) -> str:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        request = peer.receive()
        if got is not None:
            got.append(request)
        for message in messages:
            peer.send(message)
        peer.until_closed()

    return serve(script).address


def test_n6_events_are_shown_until_ctrl_c(serve: Serve) -> None:
    got: list[Any] = []
    progress = {"status": True, "progress": "x"}
    address = events(serve, response("subscribed"), progress, response(EVENT), got=got)
    command = [*COMMAND, "-s", address, "monitor", "state", "--since", "3", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == EVENT
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 0
    assert got == [{"cmd": "event_subscribe", "opts": {"type": ["state"], "since": 3}}]


def test_n6_a_refusal_and_the_end_of_the_daemon(run: Run) -> None:
    refusal = {"status": False, "message": "no", "code": "denied"}
    assert run("-s", events(run.serve, refusal), "monitor") == (3, "", "ctlctl: no\n")
    end = {"status": False, "message": "the daemon is going down", "code": "shutting-down"}
    status, out, err = run("-s", events(run.serve, response("subscribed"), response(EVENT), end), "monitor")
    assert (status, err) == (1, "ctlctl: the daemon is going down\n")
    assert out.endswith(" state id=vm 1 age=3 s\n")


def test_n6_what_is_no_event_is_not_shown(run: Run) -> None:
    address = events(run.serve, response("subscribed"), response("\x1b"))
    assert run("-s", address, "monitor") == (8, "", "ctlctl: the daemon sent an event that is none\n")


def test_b48_a_daemon_without_events(run: Run) -> None:
    unknown = {"status": False, "message": "Unsupported command 'event_subscribe'", "code": "unknown-command"}
    status, _, err = run("-s", events(run.serve, unknown), "monitor")
    assert status == 2
    assert "Unsupported command 'event_subscribe'" in err
