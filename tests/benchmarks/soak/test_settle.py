"""Whether a daemon is at rest: everything that still goes on is named."""

from typing import Any, cast

import pytest

from benchmarks.soak.settle import at_rest
from ctld.client.blocking import Client

QUIET: dict[str, Any] = {
    "status": {
        "connections": 1,
        "running": 1,
        "events": {"subscribers": 0},
        "queued_bytes": 0,
        "out_of_descriptors": False,
        "history": {"state": "ok", "reason": ""},
    },
    "lock_list": [],
    "session_list": [{"state": "ended"}],
    "job_list": [{"desired": "running", "paused": False, "alive": 2, "processes": [{}, {}]}],
    "job_schedule": [],
    "connection_list": [{"id": 7}, {"id": 8}],
}


class Answers:
    """A client of a daemon that gives these answers."""

    def __init__(self, **answers: Any) -> None:
        self._answers = {**QUIET, **answers}

    def call(self, command: str) -> Any:
        return self._answers[command]


def seen(**answers: Any) -> list[str]:
    return at_rest(cast(Client, Answers(**answers)))


def status(**changes: Any) -> dict[str, Any]:
    return {"status": {**QUIET["status"], **changes}}


def job(**changes: Any) -> dict[str, Any]:
    return {"job_list": [{**QUIET["job_list"][0], **changes}]}


def test_a_daemon_at_rest():
    assert seen() == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (status(connections=2), ["1 connections", "a connection: {'id': 7}"]),
        (status(running=3), ["2 operations that run"]),
        (status(events={"subscribers": 1}), ["1 subscribers"]),
        (status(queued_bytes=5), ["5 bytes queued"]),
        (status(out_of_descriptors=True), ["1 listeners without descriptors"]),
        (status(history={"state": "waiting", "reason": "disk full"}), ["the history is waiting: disk full"]),
        ({"lock_list": [{}, {}]}, ["2 locks"]),
        ({"session_list": [{"state": "detached"}]}, ["1 sessions"]),
        (job(alive=1), ["1 jobs that do not run"]),
        (job(paused=True), ["1 jobs that do not run"]),
        (job(desired="stopped"), ["1 jobs that do not run"]),
        ({"job_schedule": [{}]}, ["1 commands scheduled"]),
    ],
)
def test_whatever_goes_on_is_named(answers, told):
    assert seen(**answers) == told
