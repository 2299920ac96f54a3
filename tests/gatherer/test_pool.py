"""The pool as its users see it: results, deadlines, deaths, and never twice what must not be."""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from ctld.errors import (
    Busy,
    Cancelled,
    CommandFailed,
    DeadlineExceeded,
    InvalidOptions,
    NotFound,
    ShuttingDown,
)
from ctld.gatherer.pool import Pool
from ctld.gatherer.process import WorkerFailed
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import Copied, Executed
from ctld.gatherer.restarts import Patience
from tests.gatherer.actors import QUICK, eventually
from tests.procfs import alive


def pool_of(patience: Patience = QUICK, **settings: object) -> Pool:
    return Pool({"p": Profile(**settings)}, patience)  # type: ignore[arg-type]  # open keywords


def pids(pool: Pool) -> list[int]:
    return [worker.pid for crew in pool.snapshot() for worker in crew.workers]


def states(pool: Pool) -> list[str]:
    return [worker.state for crew in pool.snapshot() for worker in crew.workers]


# What it returns.


async def test_every_request(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_text("hello")
    (tmp_path / "source/b.key").write_text("secret")
    (tmp_path / "root").mkdir()
    source, root = os.fsencode(tmp_path / "source"), tmp_path / "root"
    async with pool_of(forbid=("*.key",)) as pool:
        assert await pool.noop("p") is None
        assert await pool.ping("p") is None
        assert await pool.glob("p", f"{tmp_path}/source/*") == (source + b"/a", source + b"/b.key")
        assert await pool.exec("p", b"echo \xff; exit 3") == Executed(3, b"\xff\n", b"")
        assert await pool.copy("p", tmp_path / "source", root) == (
            Copied("DIR", "0", source),
            Copied("FILE", "5", source + b"/a"),
            Copied("SKIP", "forbidden", source + b"/b.key"),
        )
        assert await pool.copy_matching("p", source + b"/a", os.fspath(root), 3) == (
            Copied("TAIL", "3", source + b"/a"),
        )
        (snapshot,) = pool.snapshot()
        assert (snapshot.profile, snapshot.requests, snapshot.starts, snapshot.crashes) == ("p", 6, 1, 0)
        assert (snapshot.calls, snapshot.degraded, states(pool)) == (0, 0.0, ["idle"])
        assert snapshot.workers[0].requests == 6
    assert pids(pool) == []


async def test_wrong_requests_reach_no_worker() -> None:
    async with pool_of() as pool:
        with pytest.raises(NotFound, match="no gatherer profile 'q'"):
            await pool.noop("q")
        with pytest.raises(InvalidOptions):
            await pool.glob("p", "a\nb")
        with pytest.raises(InvalidOptions):
            await pool.exec("p", "a\0b")
        assert pids(pool) == []


async def test_output_is_bounded() -> None:
    async with pool_of(max_output=1000, max_response=4096) as pool:
        assert await pool.exec("p", "cat /dev/zero") == Executed(-9, bytes(1000), b"")
    async with pool_of(max_output=None, max_response=4096) as pool:
        with pytest.raises(WorkerFailed, match="too long"):
            await pool.exec("p", "head -c 5000 /dev/zero")
        assert await pool.noop("p") is None


# Side by side.


async def test_workers_work_side_by_side_and_are_reused(tmp_path: Path) -> None:
    """Three commands that wait for each other: they end only if they run at the same time."""
    meet = "touch {0}/$$; while [ $(ls {0} | wc -l) -lt 3 ]; do sleep 0.01; done; echo met"
    async with pool_of(workers=3) as pool:
        results = await asyncio.gather(*(pool.exec("p", meet.format(tmp_path)) for _ in range(3)))
        assert {result.output for result in results} == {b"met\n"}
        assert len(pids(pool)) == 3
        await asyncio.gather(*(pool.glob("p", "/et[c]") for _ in range(200)))
        assert len(pids(pool)) == 3
        assert pool.snapshot()[0].starts == 3


async def test_one_worker_is_enough_for_one_caller() -> None:
    async with pool_of(workers=5) as pool:
        for _ in range(20):
            await pool.noop("p")
        assert len(pids(pool)) == 1


async def test_too_many_waiting_are_refused() -> None:
    async with pool_of(workers=1, max_waiting=2) as pool:
        calls = [asyncio.create_task(pool.exec("p", "sleep 100")) for _ in range(3)]
        await eventually(lambda: states(pool) == ["busy"])
        with pytest.raises(Busy, match="3 requests wait"):
            await pool.noop("p")
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert await pool.noop("p") is None


async def test_profiles_do_not_wait_for_each_other() -> None:
    async with Pool({"a": Profile(workers=1), "b": Profile(workers=1)}, QUICK) as pool:
        call = asyncio.create_task(pool.exec("a", "sleep 100"))
        assert await pool.noop("b") is None
        call.cancel()
        await asyncio.wait([call])
        assert [crew.profile for crew in pool.snapshot()] == ["a", "b"]


# Deadlines and cancellation.


async def test_a_deadline_ends_the_command_and_keeps_the_worker(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with pool_of(Patience(grace=20), workers=1) as pool:
        await pool.noop("p")
        before = pids(pool)
        with pytest.raises(DeadlineExceeded, match=r"longer than 0\.2 s"):
            await pool.exec("p", f"echo $$ > {mark}; sleep 100", timeout=0.2)
        assert not alive(int(mark.read_text()))
        assert await pool.glob("p", "/et[c]") == (b"/etc",)
        assert pids(pool) == before


async def test_the_profile_has_a_deadline_for_who_has_none() -> None:
    async with pool_of(timeout=0.1) as pool:
        with pytest.raises(DeadlineExceeded):
            await pool.exec("p", "sleep 100")


async def test_the_deadline_counts_the_waiting() -> None:
    async with pool_of(workers=1) as pool:
        call = asyncio.create_task(pool.exec("p", "sleep 100"))
        await eventually(lambda: states(pool) == ["busy"])
        with pytest.raises(DeadlineExceeded):
            await pool.noop("p", timeout=0.05)
        call.cancel()
        await asyncio.wait([call])


async def test_a_stopped_worker_costs_its_request_and_no_more() -> None:
    async with pool_of(workers=1) as pool:
        await pool.noop("p")
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(10):
            with pytest.raises(DeadlineExceeded):
                await pool.glob("p", "/*", timeout=0.1)
        assert not alive(pid)
        assert await pool.noop("p") is None
        assert pool.snapshot()[0].crashes == 0  # we killed it


async def test_a_cancelled_call_leaves_a_good_worker(tmp_path: Path) -> None:
    async with pool_of(workers=1) as pool:
        for turn in range(5):
            mark = tmp_path / str(turn)
            call = asyncio.create_task(pool.exec("p", f"echo $$ > {mark}.n; mv {mark}.n {mark}; sleep 100"))
            await eventually(mark.exists)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            assert not alive(int(mark.read_text()))
        assert pool.snapshot()[0].starts == 1


async def test_a_call_cancelled_twice_still_ends_its_command(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with pool_of(workers=1) as pool:
        call = asyncio.create_task(pool.exec("p", f"echo $$ > {mark}.n; mv {mark}.n {mark}; sleep 100"))
        await eventually(mark.exists)
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        call.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        os.kill(pid, signal.SIGCONT)
        # The slot stays with the command until it is over: no second worker is started meanwhile.
        assert await pool.noop("p") is None
        assert not alive(int(mark.read_text()))
        assert pool.snapshot()[0].starts == 1


async def test_cancelled_at_every_step(tmp_path: Path) -> None:
    """Whatever the loop turn in which the cancel comes, the pool is whole afterwards."""
    log = tmp_path / "log"
    async with pool_of(workers=1) as pool:
        for steps in [*range(30), 100, 300]:
            call = asyncio.create_task(pool.exec("p", f"echo {steps} >> {log}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            async with asyncio.timeout(10):
                assert await pool.glob("p", "/et[c]") == (b"/etc",)
            assert pool.snapshot()[0].calls == 0
            assert len(pids(pool)) == 1 or states(pool).count("stopping")
    lines = Counter(log.read_text().split()) if log.exists() else Counter()
    assert set(lines.values()) <= {1}


async def test_somebody_elses_sigint() -> None:
    async with pool_of(workers=1) as pool:
        call = asyncio.create_task(pool.exec("p", "sleep 100"))
        await eventually(lambda: states(pool) == ["busy"])
        await eventually(lambda: bool(Path(f"/proc/{pids(pool)[0]}/task/{pids(pool)[0]}/children").read_text()))
        os.kill(pids(pool)[0], signal.SIGINT)
        with pytest.raises(Cancelled, match="somebody"):
            await call
        assert await pool.noop("p") is None


# The end.


async def test_closing_ends_everything(tmp_path: Path) -> None:
    async with pool_of(workers=2) as pool:
        calls = [asyncio.create_task(pool.exec("p", f"touch {tmp_path}/{turn}; sleep 100")) for turn in range(5)]
        await eventually(lambda: len(os.listdir(tmp_path)) == 2)
        workers = pids(pool)
    for call in calls:
        with pytest.raises(ShuttingDown):
            await call
    assert len(os.listdir(tmp_path)) == 2  # those who waited never began
    assert not any(alive(pid) for pid in workers)
    with pytest.raises(ShuttingDown):
        await pool.noop("p")
    await pool.close()


async def test_closing_while_a_worker_starts_and_others_wait() -> None:
    pool = pool_of(workers=1)
    await pool.start()
    calls = [asyncio.create_task(pool.noop("p")) for _ in range(3)]
    await asyncio.sleep(0)
    await pool.close()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, ShuttingDown)
    assert pids(pool) == []


async def test_closing_with_a_stopped_worker() -> None:
    async with pool_of(workers=1) as pool:
        await pool.noop("p")
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)


async def test_a_pool_that_did_nothing() -> None:
    async with pool_of() as pool:
        assert pids(pool) == []
    with pytest.raises(ShuttingDown):
        await pool.noop("p")


# Health.


async def test_health_is_looked_after() -> None:
    async with pool_of(Patience(grace=0.2, probe=0.1, probe_interval=0.05, first_delay=0.001), workers=2) as pool:
        call = asyncio.create_task(pool.exec("p", "sleep 100"))
        await eventually(lambda: states(pool) == ["busy"])
        (busy,) = pids(pool)
        await pool.noop("p")
        (idle,) = set(pids(pool)) - {busy}
        os.kill(busy, signal.SIGSTOP)
        os.kill(idle, signal.SIGSTOP)
        await eventually(lambda: pids(pool) == [busy])  # the idle one was replaced
        await eventually(lambda: states(pool) == ["stuck"])  # the busy one is its deadline's business
        assert not call.done()
        os.kill(busy, signal.SIGCONT)
        await eventually(lambda: states(pool) == ["busy"])
        call.cancel()
        await asyncio.wait([call])


# Under fire.


async def test_workers_killed_at_random_under_load(tmp_path: Path) -> None:
    """No request is lost silently, none runs twice, none hangs past its deadline."""
    chance = random.Random(8)
    log = tmp_path / "log"
    log.touch()
    outcomes: Counter[str] = Counter()

    async def one(number: int, pool: Pool) -> None:
        began = asyncio.get_running_loop().time()
        try:
            if number % 3:
                done = await pool.exec("p", f"echo {number} >> {log}; sleep 0.00{number % 7}; echo {number}", timeout=5)
                assert done == Executed(0, b"%d\n" % number, b"")
                assert log.read_text().split().count(str(number)) == 1
                outcomes["executed"] += 1
            else:
                assert await pool.glob("p", "/et[c]", timeout=5) == (b"/etc",)
                outcomes["listed"] += 1
        except (WorkerFailed, DeadlineExceeded) as error:
            outcomes[type(error).__name__] += 1
        assert asyncio.get_running_loop().time() - began < 5 + 10

    async def shoot(pool: Pool) -> None:
        while True:
            await asyncio.sleep(chance.random() * 0.03)
            if targets := pids(pool):
                os.kill(chance.choice(targets), chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]))

    patience = Patience(grace=0.1, probe=0.2, probe_interval=0.1, first_delay=0.001, last_delay=0.01, crashes=100_000)
    async with pool_of(patience, workers=4) as pool:
        shooter = asyncio.create_task(shoot(pool))
        try:
            await asyncio.gather(*(one(number, pool) for number in range(400)))
        finally:
            shooter.cancel()
            await asyncio.wait([shooter])
        for pid in pids(pool):  # the last shot may have stopped one, and a busy one has all its request's time
            os.kill(pid, signal.SIGCONT)
        assert await pool.glob("p", "/et[c]", timeout=10) == (b"/etc",)
    assert outcomes.total() == 400
    assert outcomes["executed"] > 20
    assert outcomes["listed"] > 20
    assert outcomes["WorkerFailed"] > 0
    runs = Counter(log.read_text().split())
    assert set(runs.values()) == {1}


async def test_errors_are_command_errors() -> None:
    assert issubclass(WorkerFailed, CommandFailed)
    assert WorkerFailed.code == "gatherer.worker"
