"""What is made of what py-spy has seen."""

import pytest

from benchmarks import profile
from benchmarks.processes import BenchmarkError
from benchmarks.profile import kind_of, measure, parse, place_of, rows_of
from benchmarks.results import Plan

LOOP = ["<module> (benchmarks/ctld_server.py:60)", "run (ctld/runner.py:35)"]
SERVE = [*LOOP, "Conversation._serve_in_order (ctld/conversation.py:159)"]
FLUSH = [*SERVE, "Connection.flush (ctld/connection.py:202)"]


@pytest.mark.parametrize(
    ("frames", "place", "kind"),
    [
        ([*FLUSH, "write (libc.so.6)"], "connection.py flush", "the kernel"),
        ([*LOOP, "read (libc.so.6)"], "the loop", "the kernel"),
        ([*LOOP, "epoll_pwait (libc.so.6)"], "the loop", "the kernel"),
        ([*LOOP, "uv__io_poll (uvloop/loop.so)"], "the loop", "the loop: uvloop"),
        ([*SERVE, "mpack_decode (msgspec/_core.so)"], "conversation.py _serve_in_order", "JSON: msgspec, orjson"),
        ([*SERVE, "gc_collect_main (libpython3.11.so.1.0)"], "conversation.py _serve_in_order", "Python"),
        (SERVE, "conversation.py _serve_in_order", "Python"),
        ([*SERVE, "cached_property.__get__ (functools.py:3)"], "conversation.py _serve_in_order", "Python"),
        (["start_thread (libc.so.6)"], "the loop", "Python"),
    ],
)
def test_where_a_stack_belongs(frames, place, kind):
    assert (place_of(frames), kind_of(frames)) == (place, kind)


def test_threads_beside_the_loop_and_lines_that_are_none_are_left_out():
    beside = "thread_run (libpython);Thread._bootstrap (threading.py:1);f (ctld/x.py:1) 9"
    text = f"{';'.join(SERVE)} 3\n{beside}\n\nnonsense\n"
    assert list(parse(text)) == [(SERVE, 3)]


def test_shares_add_up():
    text = "\n".join(f"{';'.join([*LOOP, f'f{number} (ctld/x.py:1)'])} 2" for number in range(50))
    rows = rows_of("c50 echo", text)
    for what in ("kind", "function"):
        shares = [row.value for row in rows if row.scenario == f"profile, c50 echo, by {what}"]
        assert sum(shares) == pytest.approx(100)
    assert len(rows) == 1 + profile.SHOWN + 1
    assert rows[-1].subject == "all other functions"


def test_nothing_seen_is_missing():
    (row,) = rows_of("c50 echo", "")
    assert row.verdict == "missing"


def test_only_a_full_run_looks_into_the_server(tmp_path):
    assert measure(Plan(rounds=1, seconds=0.01, full=False, scratch=tmp_path)) == []


def test_without_py_spy_the_profile_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "peers_python", lambda: tmp_path / "python")
    with pytest.raises(BenchmarkError, match="py-spy"):
        profile._look(1, tmp_path / "stacks")
