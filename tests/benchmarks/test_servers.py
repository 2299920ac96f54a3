"""The servers that are measured: ours start anywhere, peers where they are installed."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import flows, servers
from benchmarks.load import LoadGenerator, compiler
from benchmarks.peers_venv import REQUIREMENTS, VENV
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan
from benchmarks.servers import FLOOR, LIMIT_B, OURS, PEERS, TOLD, Subject, start
from benchmarks.wires import KINDS, request_of

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return LoadGenerator(tmp_path_factory.mktemp("load"))


def no_peers():
    raise BenchmarkError("no environment for the peers: no network")


@needs_compiler
@pytest.mark.parametrize("subject", [FLOOR, LIMIT_B, *OURS, TOLD], ids=lambda subject: subject.name)
def test_ours_answer(subject, generator, folder):
    with ExitStack() as stack:
        lineup = start(stack, folder, [subject])
        assert lineup.missing == {}
        for kind in KINDS if not subject.echo else ("echo",):
            request = request_of(subject.wire, kind, subject.echo)
            path, pid = lineup.paths[subject.name], lineup.pids[subject.name]
            assert generator.run("flow", path, request, 2, 1, 0.02, pid).rate > 0


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("subject", PEERS, ids=lambda subject: subject.name)
@pytest.mark.parametrize("kind", KINDS)
def test_peers_answer_what_ctld_answers(subject, kind, generator, folder):
    stamp = VENV / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        pytest.skip("the peers are not installed: `make bench` does that")
    with ExitStack() as stack:
        lineup = start(stack, folder, [subject])
        if subject.name in lineup.missing:
            pytest.skip(lineup.missing[subject.name])
        request = request_of(subject.wire, kind)  # the load generator looks at the first answer
        path, pid = lineup.paths[subject.name], lineup.pids[subject.name]
        for connections, depth in ((1, 1), (3, 1), (1, 4)):
            load = generator.run("flow", path, request, connections, depth, 0.02, pid)
            assert load.rate > 0


def test_a_peer_that_does_not_start_is_noted(folder, monkeypatch):
    monkeypatch.setattr(servers, "peers_python", no_peers)
    with ExitStack() as stack:
        lineup = start(stack, folder, [PEERS[0]])
    assert lineup.missing == {PEERS[0].name: "no environment for the peers: no network"}
    assert lineup.paths == {}


def test_without_a_compiler_there_is_no_floor(folder, monkeypatch):
    monkeypatch.setattr("benchmarks.load.compiler", lambda: None)
    with ExitStack() as stack:
        assert start(stack, folder, [FLOOR]).missing == {FLOOR.name: "no C compiler"}


def test_one_of_ours_has_to_start(folder):
    with ExitStack() as stack, pytest.raises(BenchmarkError, match="ours does not start"):
        start(stack, folder, [Subject("ours", "benchmarks.no_such_server")])


@needs_compiler
@pytest.mark.slow
def test_without_peers_all_else_is_measured(folder, monkeypatch, capsys):
    monkeypatch.setattr(servers, "peers_python", no_peers)
    rows = flows.measure(Plan(rounds=1, seconds=0.01, full=False, scratch=folder))
    missing = {row.subject for row in rows if row.verdict == "missing"}
    assert missing == {name for peer in PEERS for name in (peer.name, f"ctld full / {peer.name}")}
    assert all("no network" in row.note for row in rows if row.verdict == "missing")
    measured = {(row.scenario, row.subject) for row in rows if row.value is not None}
    for scenario in flows.SCENARIOS:
        for subject in (FLOOR, LIMIT_B, *OURS):
            assert (scenario.title, subject.name) in measured
    assert "seq1 echo" in capsys.readouterr().out


def test_nothing_of_the_callers_environment_is_needed(folder):
    """Servers are found from anywhere: the suite may be started in another folder."""
    before = Path.cwd()
    try:
        os.chdir(folder)
        with ExitStack() as stack:
            assert start(stack, folder, [LIMIT_B]).paths
    finally:
        os.chdir(before)
