"""ctlctl.resolve: words and options become a command and its options, by the daemon's schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.exits import UsageError
from ctlctl.resolve import Invocation, describe, resolve
from ctld.client.conversation import Conversation
from ctld.errors import DeadlineExceeded, Denied, RemoteProtocolError
from tests.client.scripted import Peer, Serve

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
LIST = {"anyOf": [{"type": "array", "items": WHOLE}, {"type": "null"}]}
FLAG = {"type": "boolean"}
SECRET = {"type": "string", "format": "password", "writeOnly": True}


def command(name: str, properties: Any = None, required: Any = (), **further: Any) -> dict[str, Any]:
    options = {
        "type": "object",
        "properties": properties or {},
        "required": list(required),
        "additionalProperties": further.pop("open", False),
        "$defs": further.pop("definitions", {}),
    }
    return {"name": name, "options": options, "streams": False, "endless": False, "aliases": []} | further


COMMANDS = [
    command("ping"),
    command("job"),
    command("job_start", {"name": TEXT, "after": TEXT}, ["name"], aliases=["run"]),
    command("job_start_all"),
    command("copy", {"from": TEXT, "to": TEXT, "dry_run": FLAG, "level": WHOLE}, ["from", "to"]),
    command("exec", {"vm": TEXT, "argv": {"type": "array", "items": TEXT}}, ["vm", "argv"]),
    command("tag", {"name": TEXT, "sizes": LIST}, ["name"]),
    command("open", {"name": TEXT}, open=True),
    command("login", {"user": TEXT, "password": SECRET, "token": {"$ref": "#/$defs/Token"}}, ["user"],
            definitions={"Token": {"anyOf": [SECRET, {"type": "null"}]}, "Other": TEXT}),
    command("enter", {"user": TEXT, "password": SECRET}, ["user", "password"]),
    command("watch", endless=True),
    command("list", streams=True),
    command("no_color", {"no_wait": FLAG, "wait": FLAG}),
]  # fmt: skip  # one command per line


def read(line: str | list[str]) -> Invocation:
    return resolve(line.split() if isinstance(line, str) else line, lambda: COMMANDS)


@pytest.mark.parametrize(
    ("line", "name", "opts"),
    [
        ("job start x", "job_start", {"name": "x"}),
        ("job_start x", "job_start", {"name": "x"}),
        ("job start_all", "job_start_all", {}),
        ("job start all", "job_start_all", {}),
        ("run x", "job_start", {"name": "x"}),
        ("ping --", "ping", {}),
    ],
)
def test_the_longest_prefix_of_words_that_is_known_is_the_command(line: str, name: str, opts: Any) -> None:
    invocation = read(line)
    assert (invocation.command, invocation.opts) == (name, opts)


@pytest.mark.parametrize(
    ("line", "opts"),
    [
        ("copy a b", {"from": "a", "to": "b"}),
        ("copy a --to b", {"from": "a", "to": "b"}),
        ("copy --from a b", {"from": "a", "to": "b"}),
        ("copy --to b a", {"from": "a", "to": "b"}),
        ("copy b --opts {\"from\":\"a\"}", {"from": "a", "to": "b"}),
        ("copy a b --level -5", {"from": "a", "to": "b", "level": -5}),
        ("copy a b --level=5", {"from": "a", "to": "b", "level": 5}),
        ("copy a -b", {"from": "a", "to": "-b"}),
        ("copy -- --a --b", {"from": "--a", "to": "--b"}),
        ("copy --from --to b", {"from": "--to", "to": "b"}),
        ("exec vm ls -l", {"vm": "vm", "argv": ["ls", "-l"]}),
        ("exec vm -- ls --all", {"vm": "vm", "argv": ["ls", "--all"]}),
    ],
)  # fmt: skip  # one command line per line
def test_further_words_fill_the_required_options_in_order(line: str, opts: Any) -> None:
    assert read(line).opts == opts


@pytest.mark.parametrize(
    ("line", "opts"),
    [
        ("--dry-run", {"dry_run": True}),
        ("--dry_run", {"dry_run": True}),
        ("--no-dry-run", {"dry_run": False}),
        ("--dry-run=false", {"dry_run": False}),
        ("--dry-run true", {"dry_run": True}),
        ("--dry-run false", {"dry_run": False}),
        ("--dry-run --level 1", {"dry_run": True, "level": 1}),
    ],
)
def test_flags(line: str, opts: Any) -> None:
    assert read(f"copy a b {line}").opts == {"from": "a", "to": "b"} | opts


def test_a_word_after_a_flag_is_no_value_of_it() -> None:
    assert read("copy --dry-run a b").opts == {"from": "a", "to": "b", "dry_run": True}


def test_an_option_may_itself_begin_with_no() -> None:
    assert read("no_color --no-wait").opts == {"no_wait": True}


def test_lists_are_given_by_repetition() -> None:
    assert read("tag x --sizes 1 --sizes=2").opts == {"name": "x", "sizes": [1, 2]}
    with pytest.raises(UsageError, match="--sizes takes an integer, not 'many'"):
        read("tag x --sizes 1 --sizes many")


def test_opts_as_json_and_those_by_name_win() -> None:
    whole = '{"name": "y", "sizes": [7], "extra": 1}'

    assert read(["tag", "--sizes", "1", f"--opts={whole}"]).opts == {"name": "y", "sizes": [1], "extra": 1}
    two = read(["copy", "--opts", '{"from": "a"}', "--opts", '{"to": "b"}'])
    assert two.opts == {"from": "a", "to": "b"}


@pytest.mark.parametrize(
    ("words", "opts"),
    [(["x", "--opts", '{"a": 1}'], {"a": 1}), (["x", '--opts={"a": 1}'], {"a": 1}), (["x", "--opts", "{}"], {})],
)
def test_one_word_with_opts_alone_needs_no_schema(words: list[str], opts: Any) -> None:
    def never() -> Any:
        raise AssertionError

    invocation = resolve(words, never)
    assert (invocation.command, invocation.opts, invocation.streams) == ("x", opts, True)
    assert invocation.shown == ["x", "--opts", "***"]


def test_a_command_that_takes_anything() -> None:
    invocation = read("open --name x --some-thing 5 --other text")
    assert invocation.opts == {"name": "x", "some_thing": 5, "other": "text"}


@pytest.mark.parametrize(("line", "streams"), [("watch --", True), ("list --", True), ("ping --", False)])
def test_n4_streams_are_asked_for_as_such(line: str, streams: bool) -> None:
    assert read(line).streams is streams


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nope x", "this daemon has no command 'nope x'"),
        ("nope --x 1", "this daemon has no command 'nope'"),
        ("copy a b c", "copy takes no further word 'c'"),
        ("copy a", "copy needs --to"),
        ("copy --dry-run", "copy needs --from and --to"),
        ("copy a b --nope", "copy has no option --nope"),
        ("copy a b --no-level", "copy has no option --no-level"),
        ("copy a b --no-dry-run=1", "copy has no option --no-dry-run"),
        ("copy a b --level", "--level needs a value"),
        ("copy a b --opts", "--opts needs a value"),
        ("copy a b --level x", "--level takes an integer, not 'x'"),
        ("copy a b --level 1 --level 2", "--level is given twice"),
        ("copy a b --dry-run=maybe", "--dry-run takes true or false"),
        ("copy a b --opts [1]", "--opts takes a JSON object"),
        ("copy a b --opts {", "--opts takes JSON"),
        ("ping --opts 5", "--opts takes a JSON object"),
        ("tag x y", "tag takes no further word 'y'"),
    ],
)
def test_mistakes(line: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(line)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_n6_secrets_do_not_get_into_the_command_line_that_others_see() -> None:
    words = ["login", "me", "--password", "hush", "--token=hush", "--opts", '{"x": "hush"}']
    shown = read(words).shown
    assert not any("hush" in word for word in shown)
    assert shown == ["login", "me", "--password", "***", "--token", "***", "--opts", "***"]
    assert read(["enter", "me", "hush"]).shown == ["enter", "me", "***"]


def test_what_is_shown_otherwise() -> None:
    assert read("job start x --after=y").shown == ["job", "start", "x", "--after", "y"]
    words = ["copy", "a", "--dry-run", "--level=5", "b", "--no-dry-run"]
    assert read(words).shown == ["copy", "a", "--dry-run", "--level", "5", "b", "--no-dry-run"]


# -- describe


def described(serve: Serve, *messages: Any, timeout: float | None = None) -> list[dict[str, Any]]:
    def script(peer: Peer) -> None:
        request = peer.receive()
        assert request["cmd"] == "describe"
        assert request["deadline"] == (timeout or 10)
        peer.send(*messages)

    conversation = Conversation(serve(script).address)
    try:
        return describe(conversation, timeout)
    finally:
        conversation.close()


def test_describe(serve: Serve) -> None:
    progress = {"status": True, "progress": "one moment"}
    assert described(serve, progress, {"status": True, "response": COMMANDS}, timeout=5) == COMMANDS


def test_a_daemon_that_cannot_describe_itself(serve: Serve) -> None:
    with pytest.raises(UsageError, match="write COMMAND --opts JSON"):
        described(serve, {"status": False, "message": "Unsupported command", "code": "unknown-command"})


@pytest.mark.parametrize(("code", "error"), [("denied", Denied), ("deadline", DeadlineExceeded)])
def test_a_daemon_that_will_not_describe_itself(serve: Serve, code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        described(serve, {"status": False, "message": "no", "code": code})


@pytest.mark.parametrize("answer", [None, "x", {}, [1], [None]])
def test_a_description_that_is_none(serve: Serve, answer: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be understood"):
        described(serve, {"status": True, "response": answer})


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"name": "x"},
        {"name": "x", "options": 5, "aliases": 5},
        {"name": "x", "options": {"properties": [], "required": {}, "$defs": 5}},
        {"name": "x", "aliases": [5, None], "streams": "yes"},
    ],
)
def test_odd_descriptions_break_nothing(entry: Any) -> None:
    try:
        invocation = resolve(["x", "--a", "1"], lambda: [entry])
    except UsageError:
        return
    assert invocation.opts == {"a": 1}
    assert invocation.streams is False


WORDS = st.lists(st.sampled_from(["copy", "exec", "tag", "a", "--level", "--sizes", "5", "--opts", "{}", "--", "--no-x",
                                  "--dry-run", "--=", "--opts={}", "true", "-"]), min_size=1, max_size=8)  # fmt: skip


@given(WORDS)
def test_any_command_line_is_understood_or_refused(words: list[str]) -> None:
    try:
        invocation = read(words)
    except UsageError:
        return
    assert invocation.command


def test_names_that_daemons_should_not_have_are_no_trap() -> None:
    entry = command("x", {"opts": TEXT, "": TEXT}, ["opts"])
    assert resolve(["x", "word"], lambda: [entry]).opts == {"opts": "word"}
