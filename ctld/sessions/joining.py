"""Joining a client's connection to a program: what `Context.exec()` and `Context.attach()` do.

The order of things differs by way.  Where the program does not need anything of the client it
is started first, so that a missing program is an ordinary error; "continue" comes when
everything is ready.  Only descriptors have to be fetched before the start.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from ctld.errors import BadRequest, Busy, Cancelled, CommandFailed, RemoteProtocolError
from ctld.sessions.console import ConsoleViewer
from ctld.sessions.descriptors import PipeWatch
from ctld.sessions.launching import start_program
from ctld.sessions.options import SessionOptions
from ctld.sessions.session import Session
from ctld.sessions.state import Way
from ctld.sessions.table import SessionTable
from ctld.sessions.viewers import Departure, DescriptorsViewer, FramesViewer, SessionViewer
from ctld.stream import Stream

__all__ = ["FDS_TIMEOUT", "TakeOver", "receive_fds", "run_program", "view_session"]

FDS_TIMEOUT: Final = 10.0
"""Seconds that a client has to send its descriptors."""

# How long a console waits until its client has read "continue": whatever comes in the same
# packet is lost to the ancestor's client.
_CONTINUE_READ: Final = 1.0

TakeOver = Callable[[Way, str], Coroutine[Any, Any, Stream]]
"""Says "continue" to the client and returns its connection."""


async def receive_fds(stream: Stream, count: int) -> list[int]:
    """Return descriptors that a client sends; the caller owns them.

    Raises:
        BadRequest: It sent something else, or nothing in time; its connection will end.
        Busy: This side has no descriptors left; so will it then.
    """
    try:
        return await stream.take_fds(count, FDS_TIMEOUT)
    except RemoteProtocolError as exc:
        raise BadRequest(str(exc)) from exc
    except OSError as exc:
        raise Busy(f"descriptors cannot be taken: {exc.strerror}") from exc


async def run_program(
    table: SessionTable,
    take_over: TakeOver,
    argv: Sequence[str],
    wanted: SessionOptions,
    *,
    io: Way,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
) -> int:
    """Run a program for a client, and return its exit status.

    Args:
        table: Where sessions are listed.
        take_over: The way to the client.
        argv: The program and its arguments.
        wanted: What the client wants.
        io: How to join it to the program.
        env: Variables to add to its environment.
        cwd: The directory to start in; None: as the client wants.
        user: Whom it runs as.

    Raises:
        CommandFailed: It cannot be started, or was made to end.
        Cancelled: The client is gone, and the program goes on without it.
    """
    tty = io is Way.CONSOLE or (wanted.tty and io is Way.FRAMES)
    session = table.create(argv, tty=tty, on_disconnect=wanted.on_disconnect)
    variables = {**wanted.env, **(env or {})}
    where = wanted.cwd if cwd is None else cwd
    if io is Way.FDS:
        return await _run_on_descriptors(session, take_over, variables, where, user)
    await start_program(session, env=variables, cwd=where, user=user, rows=wanted.rows, cols=wanted.cols)
    try:
        stream = await take_over(io, session.id)
    except BaseException:
        session.kill()
        raise
    return await _see_to_the_end(session, stream, io)


async def view_session(
    take_over: TakeOver, session: Session, wanted: SessionOptions, *, io: Way, may_type: bool
) -> int | None:
    """Join a client to a session until one of them ends.

    Returns:
        The exit status; None if the client left before.

    Raises:
        CommandFailed: The session was made to end, or the client let go.
    """
    if session.starting:
        raise Busy(f"session {session.id} is only just starting")
    stream = await take_over(io, session.id)
    if may_type and (wanted.rows, wanted.cols) != (24, 80):
        session.resize(wanted.rows, wanted.cols)
    async with await _viewer(session, stream, io, may_type=may_type) as viewer:
        departure = await viewer.wait()
    if departure is not Departure.ENDED:
        return None
    stream.exit_status = await session.wait()
    return stream.exit_status


async def _see_to_the_end(session: Session, stream: Stream, io: Way) -> int:
    """Join the client to the program that was started for it."""
    async with await _viewer(session, stream, io, may_type=True) as viewer:
        try:
            return await _until_the_end(session, viewer, stream)
        except asyncio.CancelledError:
            # Somebody wants the command to end: so does its program, and what it still says is heard.
            session.hang_up()
            await session.wait()
            raise


async def _until_the_end(session: Session, viewer: SessionViewer, stream: Stream) -> int:
    refusal: CommandFailed | None = None
    try:
        departure = await viewer.wait()
    except CommandFailed as exc:
        departure, refusal = Departure.GONE, exc
    if departure is not Departure.ENDED and session.on_disconnect == "detach":
        raise refusal or Cancelled(f"the client has left session {session.id}", session=session.id)
    stream.exit_status = await session.wait()
    if refusal is not None:
        raise refusal
    return stream.exit_status


async def _viewer(session: Session, stream: Stream, io: Way, *, may_type: bool) -> SessionViewer:
    if io is Way.CONSOLE:
        await stream.consumed(_CONTINUE_READ)
        return ConsoleViewer(session, stream, may_type=may_type)
    return FramesViewer(session, stream, may_type=may_type)


async def _run_on_descriptors(
    session: Session, take_over: TakeOver, env: Mapping[str, str], cwd: str | None, user: str | None
) -> int:
    fds: list[int] = []
    try:
        stream = await take_over(Way.FDS, session.id)
        fds = await receive_fds(stream, 3)
        watch = PipeWatch(fds[1], fds[2])
    except BaseException:
        session.fail()
        _close_all(fds)
        raise
    # Even an empty pipe must not end before the client has read that the program has.
    stream.defer(watch.close)
    try:
        await start_program(session, env=env, cwd=cwd, user=user, fds=(fds[0], fds[1], fds[2]))
    finally:
        _close_all(fds)  # what we keep open the other end cannot see ending
    async with DescriptorsViewer(session, stream) as viewer:
        try:
            status = await _until_the_end(session, viewer, stream)
        except asyncio.CancelledError:
            session.hang_up()
            await session.wait()
            raise
    await watch.emptied()
    return status


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
