import asyncio
import contextlib
import signal
import subprocess
import sys

import pytest

import ctld
from ctld.errors import ConfigError, ListenFailed
from ctld.runner import run


def test_it_runs_on_uvloop_and_returns_the_result():
    async def main():
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__

    assert run(main()).partition(".")[0] == "uvloop"
    assert ctld.run is run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("ctld.toml:3: max_line: expected `int`"), "ctld.toml:3: max_line: expected `int`"),
        (ListenFailed("unix:/x: it is no socket"), "unix:/x: it is no socket"),
        (PermissionError(13, "Permission denied", "/run/x"), "[Errno 13] Permission denied: '/run/x'"),
        (ConfigError("first\nsecond\r\n\tthird"), "first second third"),
        (OSError(), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_for_the_operator_is_one_line_and_status_1(error, line, capsys):
    async def main():
        raise error

    with pytest.raises(SystemExit) as exit_status:
        run(main())
    assert exit_status.value.code == 1
    assert exit_status.value.__cause__ is error
    assert capsys.readouterr() == ("", f"{line}\n")


@pytest.mark.parametrize("error", [ValueError("a defect"), ExceptionGroup("g", [OSError()]), KeyboardInterrupt()])
def test_a_defect_keeps_its_traceback(error, capsys):
    async def main():
        raise error

    with pytest.raises(type(error)):
        run(main())
    assert capsys.readouterr().err == ""


def test_what_still_runs_is_cancelled_and_generators_are_closed():
    ended = []

    async def background():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    async def numbers():
        try:
            yield 1
        finally:
            ended.append("generator")

    async def main():
        generator = numbers()
        await anext(generator)
        keep.append(generator)
        keep.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    keep = []
    run(main())
    assert sorted(ended) == ["generator", "task"]


PROGRAM = """
import asyncio, ctld, sys
async def main():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)
ctld.run(main())
"""


def test_an_interrupt_cleans_up():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
    assert out == b"cleaned up\n"
    assert b"KeyboardInterrupt" in err
    assert child.returncode == -signal.SIGINT
