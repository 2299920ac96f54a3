"""A daemon that means harm, or passes on what others wrote: nothing of it reaches a terminal as more than text."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ctlctl.table import fields, table
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import Run

CONTROLS = "".join(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0)]))
MARKS = "\u202a\u202b\u202d\u202e\u2066\u2067\u2069\u200b\u200e\u2060\ufeff\u00ad\u2028\u2029\ud800\U000e0001"
LINK = "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\"
TITLE = "\x1b]0;owned\x07\x9b31m\x1bP+q\x1b\\\x1b[6n\x1b[21t"
EVIL = f"A{CONTROLS}B{MARKS}C{LINK}D{TITLE}\r\nFORGED line"

SCHEMA = {
    "type": "object",
    "properties": {EVIL: {"type": "string", "description": EVIL, "default": EVIL, "enum": [EVIL], "x-complete": EVIL}},
    "required": [EVIL],
    "additionalProperties": {},
}


def described(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "doc": EVIL, "role": EVIL, "allowed": True, "options": SCHEMA, "result": {}, "streams": False,
        "session": False, "endless": False, "on_disconnect": EVIL, "aliases": [EVIL], "since": EVIL, "deprecated": EVIL,
        **more,
    }  # fmt: skip


ROW = {
    EVIL: EVIL, "name": EVIL, "id": EVIL, "state": EVIL, "cli": EVIL, "message": EVIL, "peer": EVIL, "n": 1,
    "processes": [{"process": 0, "state": EVIL, "restarts": 0, "last_exit": EVIL, "message": EVIL}],
    "nested": {EVIL: [EVIL, {EVIL: EVIL}]},
}  # fmt: skip

PLAIN = {"properties": {}, "required": [], "type": "object", "additionalProperties": True}

SHAPES: dict[str, list[dict[str, Any]]] = {
    "text": [{"status": True, "response": EVIL}],
    "rows": [{"status": True, "response": [ROW, ROW]}],
    "object": [{"status": True, "response": ROW}],
    "progress": [
        {"status": True, "progress": EVIL},
        {"status": True, "progress": {EVIL: EVIL}},
        {"status": True, "progress": EVIL, "current": 1, "total": 2, "unit": EVIL, "data": {"task": EVIL}},
        {"status": True, "response": None},
    ],
    "failure": [{"status": False, "message": EVIL, "code": EVIL, "remedy": EVIL, "ref": EVIL}],
    "denial": [{"status": False, "message": EVIL, "code": "denied", "role": EVIL, "remedy": EVIL}],
    "items": [
        {"status": True, "item": {"process": 0, "text": EVIL}},
        {"status": True, "item": EVIL},
        {"status": True, "item": ROW},
        {"status": True, "response": None},
    ],
    "events": [
        {"status": True, "response": "subscribed"},
        {"status": True, "response": {"type": EVIL, "opts": {EVIL: EVIL}, "seq": 1, "time": 1.0}},
        {"status": False, "message": EVIL, "code": "shutting-down"},
    ],
}

COMMANDS = [
    ["thing"], ["thing", "--json"], ["thing", "--json-seq"], ["thing", "--columns", "name,id"], ["thing", "-q"],
    ["thing", "--help"], ["help", "thing"], ["help"], ["nothing"], ["thing", "--nope"], ["job", "list"],
    ["job", "tail", "web"], ["op", "list"], ["lock", "list"], ["lock", "graph"], ["history", "list"],
    ["policy", "list"], ["event", "list"], ["monitor"], ["ping"], ["version"], ["session", "list"],
]  # fmt: skip

NAMES = {"_".join(words) for words in (["thing"], *[command[:2] for command in COMMANDS])} | {"event_subscribe"}


def hostile(shape: str, banner: Any = None) -> Any:
    def script(peer: Peer) -> None:
        peer.send(banner or {**BANNER, "version": EVIL})
        while (request := peer.receive()) is not None:
            if request.get("cmd") == "describe":
                known = [described(name, options=PLAIN, streams="tail" in name) for name in NAMES]
                peer.send(*[{"status": True, "response": [*known, described(EVIL)]}])
            elif "cancel" not in request:
                peer.send(*SHAPES[shape])
            if request.get("cmd") == "event_subscribe":
                return  # who monitors waits for more until the end

    return script


def harmful(text: str) -> Iterator[str]:
    """Yield what is in a text beyond printable letters and ends of lines."""
    yield from (f"{letter!a} in {text!a}"[:300] for letter in text if not letter.isprintable() and letter not in "\n\t")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_of_a_daemon_steers_the_terminal(run: Run, serve: Serve, command: list[str]) -> None:
    for shape in SHAPES:
        daemon = serve(hostile(shape))
        _, out, err = run("-s", daemon.address, *command)
        assert not [*harmful(out), *harmful(err)], shape


@pytest.mark.parametrize("width", [0, 7, 40, 200])
def test_nor_where_tables_are_coloured_and_cut(width: int) -> None:
    shown = table([ROW, ROW], width=width, colour=True) + fields(ROW, width=width, colour=True)
    assert "\x1b[" in shown
    assert not [*harmful(re.sub(r"\x1b\[\d*m", "", shown))]


@pytest.mark.parametrize(
    "banner",
    [
        {"version": EVIL, "protocol": EVIL},
        {"version": EVIL, "protocol": 99},
        {EVIL: EVIL},
        {"status": False, "message": EVIL, "code": EVIL},
        [EVIL],
        EVIL,
        EVIL.encode("utf-8", "replace") + b"\n",
        b"\x1b]0;owned\x07\xff\xfe\n",
    ],
    ids=repr,
)
def test_nor_its_first_words(run: Run, serve: Serve, banner: Any) -> None:
    daemon = serve(hostile("text", banner))
    _, out, err = run("-s", daemon.address, "thing")
    assert not [*harmful(out), *harmful(err)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_nor_what_completes_a_command_line(run: Run, serve: Serve, shell: str) -> None:
    injected = ["$(touch /tmp/x)", "`id`", "a;id", "a\nb", EVIL, "--flag\x1b[2J"]
    commands = [described(name, options=SCHEMA) for name in ["thing", *injected]]
    daemon = serve(hostile("rows"))

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        while (request := peer.receive()) is not None:
            peer.send({"status": True, "response": commands if request.get("cmd") == "describe" else [ROW]})

    daemon = serve(script)
    for words in ([""], ["thing", ""], ["thing", "--"]):
        line = " ".join(["ctlctl", "-s", daemon.address, *words])
        typed = ["", line] if shell == "bash" else ["-s", daemon.address, *words]
        _, out, err = run("__complete", shell, *typed)
        assert not [*harmful(out.replace("\t", "")), *harmful(err)]
        if shell == "bash":  # which takes them as they are: nothing in them is left for it to expand
            assert not [word for word in out.splitlines() if re.search(r"(?<!\\)[$`;()]", word)]
