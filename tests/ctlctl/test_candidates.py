"""ctlctl.candidates: what may stand next."""

from typing import Any

import pytest

from ctlctl.arguments import Arguments
from ctlctl.caller import Caller
from ctlctl.candidates import candidates
from ctld.errors import CtldError
from tests.client.scripted import Serve
from tests.ctlctl.running import answering, entry

NAME = {"type": "string", "description": "the job", "x-complete": "job_list.name"}
COMMANDS = [
    entry("ping", role="anyone", doc="Answer."),
    entry("job_list", doc="List."),
    entry(
        "job_start",
        {
            "name": NAME,
            "mode": {"enum": ["fast", "slow"], "description": "how"},
            "wait": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pass_word": {"type": "string", "writeOnly": True},
            "cpus": {"type": "integer"},
        },
        ["name", "mode"],
        doc="Start.\nMore.",
    ),
    entry(
        "job_stop_all",
        {"names": {"type": "array", "items": {"type": "string"}, "x-complete": "job_list.name"}},
        ["names"],
    ),
    entry("job_wipe", allowed=False),
    entry("explain", {"cmd": {"type": "string", "x-complete": "describe.name"}}, ["cmd"], aliases=["what_is"]),
    entry("tune", {"level": {"type": "integer", "x-complete": "levels.n"}, "x": {"x-complete": "nope.x"}}, ["level"]),
]
JOBS = [{"name": "web:1", "state": "running"}, {"name": "db 2", "state": "failed"}, {"name": None}, [1], {"x": 1}]
ANSWERS = {"describe": COMMANDS, "job_list": JOBS, "levels": [{"n": 1}, {"n": True}, 3], "scalars": ["a"]}


@pytest.fixture
def asked(serve: Serve) -> Any:
    requests: list[Any] = []
    address = serve(answering(ANSWERS, requests)).address
    callers: list[Caller] = []

    def ask(line: str) -> Any:
        requests.clear()
        callers.append(Caller(Arguments(), "ctlctl", address))
        *words, text = line.split(" ")
        found = candidates(callers[-1], words, text)
        ask.requests = [request["cmd"] for request in requests]  # type: ignore[attr-defined]  # for the test to see
        return found

    yield ask
    for caller in callers:
        caller.close()


def words(found: list[tuple[str, str]]) -> list[str]:
    return [word for word, _ in found]


def test_the_first_word(asked: Any) -> None:
    found = words(asked(""))
    assert {"ping", "job", "explain", "what", "help", "shell", "monitor", "completion", "lock"} <= set(found)
    assert "__complete" not in found
    assert words(asked("p")) == ["policy", "ping"]
    assert asked("pi") == [("ping", "Answer.")]


def test_further_words_and_what_one_may_not_is_left_out(asked: Any) -> None:
    found = asked("job ")
    assert {("list", "List."), ("start", "Start."), ("stop", "")} <= set(found)
    assert "wipe" not in words(found)
    assert words(asked("job sta")) == ["start"]
    assert words(asked("job stop ")) == ["all"]
    assert words(asked("what ")) == ["is"]
    assert words(asked("lock ")) == ["graph"]
    assert words(asked("job nope ")) == []


@pytest.mark.parametrize(
    "line", ["job start ", "job start --name ", "job start --wait ", "-s /x --json job start ", "job_start "]
)
def test_values_from_the_daemon(asked: Any, line: str) -> None:
    assert asked(line) == [("web:1", "running"), ("db 2", "failed")]
    assert asked.requests == ["describe", "job_list"]


def test_a_value_that_is_begun(asked: Any) -> None:
    assert words(asked("job start web")) == ["web:1"]
    assert words(asked("job start --name=w")) == ["--name=web:1"]
    assert words(asked("job start --nope=w")) == []
    assert words(asked("job stop all a b w")) == ["web:1"], "a list takes all that follow"


def test_enums_and_booleans(asked: Any) -> None:
    assert words(asked("job start web:1 ")) == ["fast", "slow"]
    assert words(asked("job start --name web:1 ")) == ["fast", "slow"]
    assert words(asked("job start --mode s")) == ["slow"]
    assert words(asked("job start --wait=")) == ["--wait=true", "--wait=false"]
    assert words(asked("job start web:1 fast ")) == []


def test_options_that_are_not_given_yet(asked: Any) -> None:
    found = words(asked("job start --mode fast --no-wait --tags a --"))
    for flag in (
        "--name",
        "--tags",
        "--cpus",
        "--pass-word",
        "--pass-word-file",
        "--pass-word-env",
        "--json",
        "--help",
    ):
        assert flag in found
    for flag in ("--mode", "--wait", "--no-wait"):
        assert flag not in found
    assert ("--mode", "how") in asked("job start --m")


def test_values_that_nobody_can_know(asked: Any) -> None:
    for line in ("job start --cpus ", "job start --timeout ", "job start --opts ", "-s ", "--timeout ", "ping "):
        assert asked(line) == []


def test_names_of_commands_are_known_already(asked: Any) -> None:
    assert "job_start" in words(asked("explain "))
    assert asked.requests == ["describe"]


def test_other_sources(asked: Any) -> None:
    assert words(asked("tune ")) == ["1", "3"]
    with pytest.raises(CtldError):
        asked("tune --x ")


def test_our_own_options_and_commands(asked: Any) -> None:
    found = words(asked("--"))
    assert {"--json", "--socket", "--tls-ca", "--watch"} <= set(found)
    assert asked.requests == []
    assert words(asked("completion ")) == ["bash", "zsh", "fish"]
    assert words(asked("completion bash ")) == []
    assert "start" in words(asked("help job "))
    assert words(asked("help job start ")) == []
    assert "ping" in words(asked("-- pi"))


def test_what_a_terminal_could_stumble_over_is_left_out(serve: Serve) -> None:
    address = serve(answering({"describe": [*COMMANDS], "job_list": [{"name": "a\x1b[2J"}, {"name": "b"}]})).address
    caller = Caller(Arguments(), "ctlctl", address)
    assert words(candidates(caller, ["job", "start"], "")) == ["b"]
    caller.close()
