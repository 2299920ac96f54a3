"""ctlctl.watch: a command again and again."""

import json
import subprocess
from typing import Any

import pytest

from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, read_until, response


def counting(peer: Peer) -> None:
    peer.send(BANNER)
    count = 0
    while (request := peer.receive()) is not None:
        if request["cmd"] == "describe":
            peer.send(response([{"name": "n", "options": {"additionalProperties": False}}]))
        else:
            count += 1
            peer.send({"status": True, "progress": "unwanted"}, response([{"n": count}]))


@pytest.mark.parametrize("argv", [["--watch=0.1", "--json", "n"], ["n", "--watch=0.1", "--json-seq"]], ids=" ".join)
def test_b52_again_and_again_over_one_connection(serve: Serve, argv: list[str]) -> None:
    daemon = serve(counting)
    command = [*COMMAND, "-s", daemon.address, *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        got = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read() == b"", "progress is not for what comes back every second"
    assert got in ([[{"n": 1}], [{"n": 2}], [{"n": 3}]], [{"n": 1}, {"n": 2}, {"n": 3}])
    assert daemon.connections == 1


def test_into_a_pipe_there_are_lines_between(serve: Serve) -> None:
    command = [*COMMAND, "-s", serve(counting).address, "--watch=0.1", "n"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = read_until(process.stdout.fileno(), b"2\n").decode().splitlines()
        process.terminate()
    assert lines[:2] == ["N", "1"]
    assert lines[2].startswith("-- 2")
    assert lines[3:5] == ["N", "2"]


def test_a_failure_ends_it(run: Run) -> None:
    failure = {"status": False, "message": "gone", "code": "not-found"}
    assert run.against([failure], "--watch", "n") == (1, "", "ctlctl: gone\n")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
def test_on_a_terminal_each_takes_the_place_of_the_last_and_ctrl_c_is_no_failure(serve: Serve, terminal: Any) -> None:
    on_terminal = terminal("-s", serve(counting).address, "--watch=0.2", "n")
    said = on_terminal.until(b"\r\n2\r\n")
    assert said.count(b"\x1b[H\x1b[2J") == 2
    assert b"every 0.2 s: ctlctl n  2" in said
    on_terminal.type("\x03")
    status, _ = on_terminal.finish()
    assert status in (0, 6), "between two runs, or within one"
