"""`job list` and `job tail` for people."""

import pytest

from ctlctl.jobs import LogLines, process_rows
from tests.ctlctl.running import item, response

PROCESS = {
    "process": 0, "state": "alive", "pid": 7, "uptime": 61.0, "restarts": 2, "cpu": 1.5, "memory": 2048,
    "last_exit": "exit code 1", "message": "x", "retry_in": None, "adopted": False,
}  # fmt: skip


def job(name="web", state="running", *processes, **more):
    return {"name": name, "state": state, "desired": "running", "processes": list(processes), **more}


def test_a_row_for_each_process():
    rows = process_rows([job("web", "running", PROCESS, PROCESS | {"process": 1, "state": "badstop", "retry_in": 1.0})])
    assert rows == [
        {"job": "web", "process": 0, "state": "alive", "pid": 7, "uptime": 61.0, "restarts": 2, "cpu": 1.5,
         "memory": 2048, "last_exit": "exit code 1"},
        {**{key: value for key, value in PROCESS.items() if key not in ("message", "retry_in", "adopted")},
         "job": "web", "process": 1, "state": "backoff"},
    ]  # fmt: skip
    assert [process_rows([job("a", state, PROCESS)])[0]["state"] for state in ("waiting", "paused", "failed")] == [
        "waiting",
        "paused",
        "alive",
    ]


@pytest.mark.parametrize("value", [None, "x", [1], [{"name": "a"}], [{"name": "a", "processes": [{}]}], {"a": 1}])
def test_lists_of_other_daemons_stay_as_they_are(value):
    assert process_rows(value) == value


def test_the_list_as_it_is_shown(run):
    status, out, _ = run.against([response([job("web", "running", PROCESS)])], "job_list")
    assert status == 0
    head, row = out.splitlines()
    assert head.split() == ["JOB", "PROCESS", "STATE", "PID", "UPTIME", "RESTARTS", "CPU", "MEMORY", "LAST", "EXIT"]
    assert " ".join(row.split()) == "web 0 alive 7 1 min 1 s 2 1.5 2.0 KiB exit code 1"
    _, out, _ = run.against([response([job("web", "running", PROCESS)])], "--json", "job_list")
    assert '"processes"' in out


def test_lines_of_a_log():
    lines = LogLines()
    items = [
        ({"process": 0, "text": "one"}, "one\n"),
        ({"process": 0, "text": ""}, "\n"),
        ({"process": 1, "text": "\x1b[2Jx\r", "base64": "eA=="}, "==> process 1 <==\n\\u001b[2Jx\n"),
        ({"process": 1, "text": "> ", "partial": True}, "> "),
        ({"process": 0, "text": "two"}, "==> process 0 <==\ntwo\n"),
        ({"process": 0, "text": 5}, None),
        ({"process": 0, "text": "x", "more": 1}, None),
    ]
    assert [lines.text(given) for given, _ in items] == [expected for _, expected in items]


SCHEMA = {
    "name": "job_tail",
    "streams": True,
    "options": {
        "properties": {
            "name": {"type": "string"},
            "lines": {"type": "integer"},
            "follow": {"type": "boolean"},
            "stderr": {"type": "boolean"},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
}


def test_tail_knows_short_options(run, serve):
    def script(peer):
        peer.send({"version": "1", "protocol": 2, "features": []})
        while (request := peer.receive()) is not None:
            run.requests.append(request)
            if request["cmd"] == "describe":
                peer.send(response([SCHEMA]))
            else:
                peer.send(item({"process": 0, "text": "hello"}), response(None))

    status, out, err = run("-s", serve(script).address, "job", "tail", "-f", "-n", "3", "-e", "web")
    assert (status, out, err) == (0, "hello\n", "")
    opts = run.requests[-1]["opts"]
    opts.pop("cli")
    assert opts == {"name": "web", "lines": 3, "follow": True, "stderr": True}
    status, out, err = run("-s", serve(script).address, "job", "tail", "--", "-f")
    assert run.requests[-1]["opts"]["name"] == "-f"


def test_other_daemons_tails_are_rows(run):
    _, out, _ = run.against([item({"line": "x"}), response(None)], "job_tail")
    assert out.split() == ["LINE", "x"]


def test_the_name_of_a_process_steers_no_terminal():
    assert LogLines().text({"process": "\x1b[2J\n", "text": "a"}) == "==> process \\u001b[2J <==\na\n"
