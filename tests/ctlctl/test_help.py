"""ctlctl.help: the list of commands, and one in full, from what the daemon says."""

from typing import Any

import pytest

from ctlctl.cli import LOCAL
from ctlctl.help import command_help, local_help, overview
from tests.ctlctl.running import Run, answering, entry

JOB_START = entry(
    "job_start",
    {
        "name": {"type": "string", "description": "the job", "x-complete": "job_list.name", "minLength": 1},
        "mode": {"enum": ["fast", "slow"], "default": "fast", "description": "how"},
        "wait": {"type": "boolean", "default": False},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "cpus": {"type": "integer", "minimum": 1, "maximum": 8, "description": "how many", "default": 2},
        "password": {"type": "string", "format": "password", "writeOnly": True},
        "limit": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "old": {"type": "string", "deprecated": True, "x-deprecated": "use mode", "default": ""},
        "a_very_long_option_name_for_columns": {"type": "object"},
    },
    ["name", "password"],
    doc="Start a job.\n\nIt runs until it stops.",
    aliases=["js"],
    since="1.2",
    deprecated="use vm start",
    on_disconnect="cancel",
)
COMMANDS = [
    entry("ping", role="anyone", doc="Answer."),
    entry("job_list", doc="List."),
    JOB_START,
    entry("job_wipe", role="admin", allowed=False, doc="Wipe."),
]


def test_the_list_is_grouped_by_first_word_and_says_what_needs_which_role() -> None:
    text = overview("vmctl", COMMANDS)
    lines = text.splitlines()
    assert lines[:7] == [
        "Commands",
        "  ping                        Answer.",
        "",
        "job",
        "  job list                    List.",
        "  job start                   (deprecated) Start a job.",
        "  job wipe                    (needs admin) Wipe.",
    ]
    assert "You have the role operate; other commands need admin." in lines
    assert lines[-1] == "'vmctl help COMMAND' explains one; 'vmctl --help' lists the options."
    assert "ctlctl" not in text
    assert "__complete" not in text


def test_the_list_fits_and_is_coloured() -> None:
    assert max(map(len, overview("x", COMMANDS, width=40).splitlines()[:-2])) <= 40
    assert "\x1b[2m  job wipe" in overview("x", COMMANDS, colour=True)
    assert "\x1b[1mjob\x1b[0m" in overview("x", COMMANDS, colour=True)


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        ([], "You have no role: you may run everything."),
        ([entry("a", role="admin")], "You have the role admin: you may run everything."),
        ([entry("a", role="custom", allowed=False)], "You have no role; other commands need custom."),
    ],
)
def test_where_one_stands(commands: list[Any], text: str) -> None:
    assert text in overview("x", commands)


def test_a_command_in_full() -> None:
    assert command_help("vmctl", JOB_START).splitlines() == [
        "usage: vmctl job start NAME PASSWORD [--option VALUE]...",
        "",
        "Start a job.",
        "",
        "It runs until it stops.",
        "",
        "Deprecated: use vm start",
        "",
        "Options",
        "  --name TEXT                 the job (required; length at least 1)",
        "  --password SECRET           (required; or --password-file FILE, --password-env NAME, or asked for)",
        "  --mode fast|slow            how (default fast)",
        "  --wait, --no-wait           (default no)",
        "  --tags TEXT                 (may be repeated)",
        "  --cpus N                    how many (default 2; at least 1; at most 8)",
        "  --limit NUMBER",
        "  --old TEXT                  (deprecated: use mode)",
        "  --a-very-long-option-name-for-columns JSON",
        "",
        "Needs the role operate: you have it.",
        "Is cancelled when its client goes away.",
        "Also called js.",
        "Since 1.2.",
        "",
        "Also --columns, --detach, --json, --json-seq, --quiet, --sort, --timeout, --watch: see 'vmctl --help'.",
    ]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"session": True}, "Takes over the connection: its standard streams become yours."),
        ({"endless": True, "streams": True}, "Answers without end, until you press Ctrl-C."),
        ({"streams": True}, "Answers item by item."),
        ({"allowed": False}, "Needs the role operate: you do not have it."),
    ],
    ids=lambda value: str(value),
)
def test_b28_it_is_said_what_kind_of_command_it_is(more: dict[str, Any], text: str) -> None:
    assert text in command_help("x", entry("a", **more)).splitlines()


def test_a_schema_that_makes_no_sense_is_explained_as_far_as_it_goes() -> None:
    options = {"properties": {"a": 5, "n": {"minimum": 10**400, "maximum": 0.5}}, "required": [{"b": 1}, "a"]}
    text = command_help("p", {"name": 5, "doc": ["x"], "options": options})
    assert "usage: p 5 A" in text
    assert f"at least {10**400}; at most 0.5" in text


def test_nothing_of_a_daemon_steers_the_terminal() -> None:
    evil = "\x1b[2J"
    property = {"type": "string", "description": evil, "default": evil, "deprecated": True, "x-deprecated": evil}
    command = entry(evil, {evil: property}, [evil], doc=evil, role=evil, aliases=[evil], since=evil, deprecated=evil)
    assert "\x1b" not in command_help("x", command)
    assert "\x1b" not in overview("x", [command, command])


def test_every_command_of_ours_has_a_module_and_help() -> None:
    from importlib import import_module

    for key, (module, _, about) in LOCAL.items():
        assert callable(import_module(module).run), key
        if about:
            assert local_help("vmctl", key).startswith(f"usage: vmctl {key}")


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        ("", "Commands"),
        ("help", "Commands"),
        ("help job start", "usage: ctlctl job start NAME"),
        ("help job_start", "usage: ctlctl job start NAME"),
        ("job start --help", "usage: ctlctl job start NAME"),
        ("job start x --tags a --help", "usage: ctlctl job start NAME"),
        ("ping --help", "usage: ctlctl ping"),
        ("help job", "job"),
        ("job --help", "job"),
        ("help monitor", "usage: ctlctl monitor [TYPE...]"),
        ("help lock graph", "usage: ctlctl lock graph"),
        ("monitor --help", "usage: ctlctl monitor [TYPE...]"),
        ("shell --help", "usage: ctlctl shell"),
    ],
)
def test_the_ways_to_it(run: Run, argv: str, first: str) -> None:
    address = run.serve(answering({"describe": COMMANDS})).address
    status, out, err = run("-s", address, *argv.split())
    assert (status, err) == (0, "")
    assert out.splitlines()[0].startswith(first)


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        ("help job strat", "ctlctl: this daemon has no command 'job strat'; did you mean 'job start'?\n"),
        ("help job start x", "ctlctl: this daemon has no command 'job start x'; did you mean 'job start'?\n"),
        ("zebra --help", "ctlctl: this daemon has no command 'zebra'\n"),
    ],
)
def test_of_nothing(run: Run, argv: str, err: str) -> None:
    address = run.serve(answering({"describe": COMMANDS})).address
    assert run("-s", address, *argv.split()) == (2, "", err)
