"""What jobs use: reading /proc, sums by session, percent of a CPU."""

import os
import resource
import subprocess

import pytest

from ctld.jobs.usage import Usage, UsageMeter, parse_stat, read_usage

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def stat_line(name: str = "sh", session: int = 7, utime: int = 3, stime: int = 4, rss: int = 5) -> str:
    head = f"42 ({name}) S 1 7 {session} 0 -1 0 0 0 0 0 {utime} {stime}"
    return f"{head} 0 0 20 0 1 0 99 1000 {rss} 0 0\n"


@pytest.mark.parametrize("name", ["sh", "a b", "a) R 9 9 9", "(((", "\n"])
def test_a_line_of_proc_is_read_whatever_the_program_calls_itself(name):
    assert parse_stat(stat_line(name)) == (7, Usage(7 / TICK, 5 * PAGE))


@pytest.mark.parametrize("line", ["", "42 (sh", "42 (sh) S 1 7 7", stat_line(utime="x")])
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError):
        parse_stat(line)


def test_sessions_are_summed_and_what_cannot_be_read_is_left_out(tmp_path):
    for pid, line in (("1", stat_line()), ("2", stat_line(rss=6)), ("3", stat_line(session=8)), ("4", "")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "stat").write_text(line)
    (tmp_path / "5").mkdir()
    (tmp_path / "self").mkdir()
    assert read_usage(str(tmp_path)) == {7: Usage(14 / TICK, 11 * PAGE), 8: Usage(7 / TICK, 5 * PAGE)}


@pytest.mark.parametrize("spare", [0, 1], ids=["no descriptor", "one, for the listing"])
def test_without_descriptors_nothing_is_known_and_nothing_fails(tmp_path, spare):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stat").write_text(stat_line())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, hard))
    try:
        assert read_usage(str(tmp_path)) == ({} if spare == 0 else {7: Usage(7 / TICK, 5 * PAGE)})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_real_process_has_memory():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        try:
            assert read_usage()[child.pid].memory > 0
        finally:
            child.kill()


def test_percent_is_since_the_start_and_then_since_the_last_question():
    now = 100.0
    meter = UsageMeter(lambda: now)
    assert meter.percent(1, cpu_time=5.0, uptime=10.0) == 50.0
    now = 102.0
    assert meter.percent(1, cpu_time=5.2, uptime=12.0) == 10.0
    now = 102.1
    assert meter.percent(1, cpu_time=5.3, uptime=12.1) == 10.0  # too soon for another answer
    now = 103.0
    assert meter.percent(1, cpu_time=0.25, uptime=0.5) == 50.0  # another process of that number
    now = 104.0
    assert meter.percent(1, cpu_time=0.2, uptime=1.5) == 0.0
    assert meter.percent(2, cpu_time=0.0, uptime=0.1) == 0.0
    meter.forget_others({2})
    assert list(meter._last) == []
