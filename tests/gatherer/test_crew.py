"""The workers of one profile: retries, back-off, degradation, recycling."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from ctld.errors import Busy, CommandFailed, NotFound
from ctld.gatherer.crew import Crew
from ctld.gatherer.process import WorkerFailed
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import (
    Request,
    copy_matching_request,
    copy_request,
    exec_request,
    glob_request,
    noop_request,
    ping_request,
)
from ctld.gatherer.restarts import Patience
from tests.gatherer.actors import QUICK, actor, eventually

# Writes down what it is asked, and dies of the first request that it gets in the directory.
MORTAL = """
say(b"#0#\\n")
number = 0
while True:
    command = hear()
    if command == b"exit": sys.exit(0)
    for _ in range({"cp": 2, "globcp": 3, "glob": 1, "exec": 1}.get(command.decode(), 0)): hear()
    with open(DIRECTORY + "/asked", "ab") as log: log.write(command + b"\\n")
    try: os.mkdir(DIRECTORY + "/died")
    except FileExistsError: pass
    else: sys.exit(1)
    number += 1
    say({"glob": b"0\\n", "exec": b"0\\n0\\n\\n0\\n\\n"}.get(command.decode(), b"") + b"#%d#\\n" % number)
"""

# Starts only once the mark is there.
HEALING = """
if not os.path.exists(MARK): sys.exit(7)
say(b"#0#\\n")
if hear() == b"noop": say(b"#1#\\n"); hear()
"""


def crew_of(patience: Patience = QUICK, **settings: object) -> Crew:
    return Crew("p", Profile(**settings), patience)  # type: ignore[arg-type]  # open keywords


@pytest.mark.parametrize("request_", [noop_request(), ping_request(), glob_request(b"*")], ids=lambda r: r.command)
async def test_what_does_no_harm_is_asked_again_once(tmp_path: Path, request_: Request[object]) -> None:
    crew = crew_of(python=actor(tmp_path / "actor", MORTAL.replace("DIRECTORY", repr(str(tmp_path)))), workers=1)
    assert await crew.call(request_) in (None, ())
    assert (tmp_path / "asked").read_text() == f"{request_.command}\n" * 2
    snapshot = crew.snapshot()
    assert (snapshot.requests, snapshot.starts, snapshot.crashes) == (2, 2, 1)
    await crew.close()


@pytest.mark.parametrize(
    "request_",
    [exec_request(b"x"), copy_request(b"/a", b"/b"), copy_matching_request(b"/a", b"/b", 0)],
    ids=lambda r: r.command,
)
async def test_nothing_else_is_ever_asked_again(tmp_path: Path, request_: Request[object]) -> None:
    crew = crew_of(python=actor(tmp_path / "actor", MORTAL.replace("DIRECTORY", repr(str(tmp_path)))), workers=1)
    with pytest.raises(WorkerFailed, match="exit code 1"):
        await crew.call(request_)
    assert (tmp_path / "asked").read_text() == f"{request_.command}\n"
    await crew.call(noop_request())  # the next one gets a new worker
    await crew.close()


async def test_it_is_asked_again_only_once(tmp_path: Path) -> None:
    role = "say(b'#0#\\n')\nif hear() != b'exit': sys.exit(9)"
    crew = crew_of(python=actor(tmp_path / "actor", role), workers=1)
    with pytest.raises(WorkerFailed, match="exit code 9"):
        await crew.call(noop_request())
    assert crew.snapshot().requests == 2
    await crew.close()


async def test_crashes_degrade_the_profile_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "healed"
    role = HEALING.replace("MARK", repr(str(mark)))
    patience = Patience(first_delay=0.001, last_delay=0.01, window=60, crashes=5)
    crew = crew_of(patience, python=actor(tmp_path / "actor", role), workers=1)
    for _ in range(3):
        with pytest.raises(CommandFailed):
            await crew.call(noop_request())
    snapshot = crew.snapshot()
    assert snapshot.crashes == snapshot.starts == 5
    assert snapshot.degraded > 0
    starts = snapshot.starts
    for _ in range(10):
        with pytest.raises(Busy, match="degraded: 5 workers crashed") as caught:
            await crew.call(noop_request())
        assert 0 < caught.value.fields["retry_after"] <= 60
    assert crew.snapshot().starts == starts  # it failed at once
    mark.touch()
    clock = asyncio.get_running_loop().time
    monkeypatch.setattr(crew, "_now", lambda: clock() + 60)  # a minute later
    assert crew.snapshot().degraded == 0
    assert await crew.call(noop_request()) is None
    await crew.close()


async def test_a_worker_is_not_started_before_its_time(tmp_path: Path) -> None:
    mark = tmp_path / "healed"
    role = HEALING.replace("MARK", repr(str(mark)))
    patience = Patience(first_delay=0.3, crashes=100)
    crew = crew_of(patience, python=actor(tmp_path / "actor", role), workers=2)
    with pytest.raises(WorkerFailed):
        await crew.call(exec_request(b"x"))
    mark.touch()
    clock = asyncio.get_running_loop().time
    began = clock()
    await crew.call(noop_request())
    assert clock() - began >= 0.25
    await crew.close()


async def test_a_worker_that_cannot_be_started(tmp_path: Path) -> None:
    crew = crew_of(python=str(tmp_path / "none"))
    with pytest.raises(NotFound):
        await crew.call(noop_request())
    assert crew.snapshot().crashes == 1
    await crew.close()


async def test_an_idle_worker_that_dies_is_replaced() -> None:
    crew = crew_of(workers=1)
    await crew.call(noop_request())
    (worker,) = crew.snapshot().workers
    os.kill(worker.pid, signal.SIGKILL)
    await eventually(lambda: not crew.snapshot().workers)
    assert crew.snapshot().crashes == 1
    assert await crew.call(glob_request(b"/et[c]")) == (b"/etc",)
    await crew.close()


async def test_workers_are_replaced_after_so_many_requests() -> None:
    crew = crew_of(workers=1, max_requests=5)
    for _ in range(12):
        assert await crew.call(glob_request(b"/et[c]")) == (b"/etc",)
    snapshot = crew.snapshot()
    assert (snapshot.requests, snapshot.starts, snapshot.crashes) == (12, 3, 0)
    await crew.close()


async def test_workers_that_have_grown_are_replaced(tmp_path: Path) -> None:
    role = "say(b'#0#\\n')\nnumber = 0\nhoard = b''\nwhile hear() == b'noop':\n number += 1\n"
    role += " if number == 3: hoard = b'x' * 80_000_000\n say(b'#%d#\\n' % number)"
    crew = crew_of(python=actor(tmp_path / "actor", role), workers=1, max_resident=64 * 1024 * 1024)
    starts = []
    for _ in range(5):
        await crew.call(noop_request())
        starts.append(crew.snapshot().starts)
    assert starts == [1, 1, 1, 2, 2]
    assert crew.snapshot().crashes == 0
    await crew.close()


async def test_a_retired_worker_is_shown_as_stopping(tmp_path: Path) -> None:
    role = "say(b'#0#\\n'); hear(); say(b'#1#\\n')\nwhile True: time.sleep(100)"
    crew = crew_of(python=actor(tmp_path / "actor", role), workers=1, max_requests=1)
    await crew.call(noop_request())
    assert [worker.state for worker in crew.snapshot().workers] == ["stopping"]
    await crew.close()
    assert crew.snapshot().workers == ()
