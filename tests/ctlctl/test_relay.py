"""The relay's pieces; the whole is in `test_sessions.py`."""

import fcntl
import os
import signal

import pytest

from ctlctl.relay import Ended, _Screen, _SignalPipe


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue  # the test closed it


def test_a_screen_takes_small_pieces(pipe):
    reading, writing = pipe
    screen = _Screen(writing)
    screen.add(b"x" * 10_000)
    assert screen.waiting == 10_000
    screen.write()
    assert screen.waiting == 10_000 - 4096
    assert len(os.read(reading, 65536)) == 4096


def test_a_file_takes_large_ones(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        screen = _Screen(file.fileno())
        screen.add(b"x" * 100_000)
        screen.write()
        assert screen.waiting == 0


def test_a_screen_that_nobody_looks_at(pipe):
    reading, writing = pipe
    os.close(reading)
    screen = _Screen(writing)
    screen.add(b"x")
    with pytest.raises(Ended) as ended:
        screen.write()
    assert ended.value.status == 141
    assert not ended.value.detached


def test_a_screen_that_is_full(pipe):
    _, writing = pipe
    os.set_blocking(writing, False)
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    screen = _Screen(writing)
    screen.add(b"x" * (size + 4096))
    while screen.waiting > 4096:
        screen.write()
    screen.write()
    assert screen.waiting == 4096


def test_a_screen_that_is_closed():
    assert _Screen(-1).waiting == 0


def test_signals_come_through_the_pipe_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGUSR1)
    with _SignalPipe((signal.SIGUSR1, signal.SIGWINCH)) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGWINCH)
        assert sorted(signals.read()) == [signal.SIGUSR1, signal.SIGWINCH]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with _SignalPipe((signal.SIGUSR2,)):
            assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_output_that_came_with_continue_is_shown_at_once(pipe, monkeypatch):
    """No keep-alive has to come by first."""
    import socket

    from ctlctl.relay import relay
    from ctld.client.blocking_session import BlockingSession

    reading, writing = pipe
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(
            b'{"status":true,"response":"continue","session":"s"}\n'
            b"\x01\x00\x00\x00\x05early"
            b'\x05\x00\x00\x00\x10{"exitstatus":3}'
        )
        session = BlockingSession(ours, "unix:x", 1024, remote=False)
        session.begin(b"request\n")
        assert session.over
        monkeypatch.setattr("ctlctl.relay._Screen", lambda fd: _Screen(writing))
        assert relay(session, None) == 3
    assert os.read(reading, 100) == b"early"
