import asyncio

from ctld.jobs import rotation
from ctld.jobs.rotation import LogRotation


async def turns(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_files_are_rotated_once_they_have_grown(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text("x" * 10)
    large.write_text("x" * 11)
    looking = LogRotation(lambda: {str(small): (10, 1), str(large): (10, 1), str(tmp_path / "none"): (10, 1)}, 0.01)
    looking.wake()
    looking.wake()
    await turns((tmp_path / "large.1").exists)
    await looking.close()
    assert (small.read_text(), large.read_text()) == ("x" * 10, "")
    assert not (tmp_path / "small.1").exists()
    await looking.close()


async def test_nobody_looks_while_nothing_is_wanted(tmp_path):
    wanted = {}
    looking = LogRotation(lambda: wanted, 0.01)
    looking.wake()
    assert looking._timer is None
    wanted[str(tmp_path / "log")] = (10, 1)
    looking.wake()
    assert looking._timer is not None
    wanted.clear()
    await turns(lambda: looking._timer is None)
    await looking.close()


async def test_a_failure_is_logged_and_the_next_file_is_rotated(tmp_path, caplog):
    for name in ("a", "b"):
        (tmp_path / name).write_text("x" * 20)
    (tmp_path / "a.1").mkdir()
    looking = LogRotation(lambda: {str(tmp_path / name): (10, 1) for name in ("a", "b")}, 0.01)
    looking.wake()
    await turns((tmp_path / "b.1").exists)
    await looking.close()
    assert "cannot rotate" in caplog.text


async def test_a_rotation_that_has_begun_is_finished_and_not_begun_twice(tmp_path, monkeypatch):
    begun, go_on, done = [], asyncio.Event(), []

    async def slow(function, path, backups):
        begun.append(path)
        await go_on.wait()
        done.append(path)

    monkeypatch.setattr(rotation.asyncio, "to_thread", slow)
    (tmp_path / "log").write_text("x" * 20)
    looks = []
    looking = LogRotation(lambda: looks.append(1) or {str(tmp_path / "log"): (10, 1)}, 0.005)
    looking.wake()
    await turns(lambda: len(looks) > 6)
    assert begun == [str(tmp_path / "log")]
    closing = asyncio.create_task(looking.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert done == begun
