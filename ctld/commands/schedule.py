"""Commands at a later time: kept in a file, run as whoever asked for them.

Whether the caller may is asked twice: when it is noted, so that nobody waits for a denial,
and when it is run, with the rules of that day.  An entry leaves the file before it runs, so
that a command that ends the daemon is not run again by the next one.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.permission import require_role
from ctld.commands.registry import CommandRegistry
from ctld.errors import Busy, CommandFailed, NotFound, error_from_wire
from ctld.peer import Peer, Role
from ctld.wire.messages import Failure

__all__ = ["MAX_ENTRIES", "Schedule", "ScheduledCommand", "schedule_commands"]

logger = logging.getLogger("ctld.schedule")

# More than any person plans; each is a line in a file that is written as a whole.
MAX_ENTRIES: Final = 1000

# The clock may be set while nothing is due; this is how soon that is noticed, in seconds.
_LONGEST_NAP: Final = 60.0

# What was due while no daemon ran, and longer ago than this, is not what anybody wants any more.
_TOO_LATE: Final = 3600.0


class ScheduledCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        id: Its name.
        at: When it is due, in seconds since 1970.
        command: The command.
        options: Its options.
        peer: Who asked for it, for people.
        role: The role that the peer had.
        uid: The user id of the peer.
        transport: How the peer came.
    """

    id: str
    at: float
    command: str
    options: dict[str, Any] = {}
    peer: str = ""
    role: Role = "anyone"
    uid: int | None = None
    transport: str = ""


class Schedule:
    """What is to be run later.

    Args:
        path: The file; what is in it already is part of the schedule.
        now: The clock.
    """

    def __init__(self, path: str, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._changed = asyncio.Event()
        self._entries = {entry.id: entry for entry in self._read()}

    def entries(self) -> list[ScheduledCommand]:
        """Return what is to be run, the next one first."""
        return sorted(self._entries.values(), key=lambda entry: (entry.at, entry.id))

    def add(self, entry: ScheduledCommand) -> None:
        """Note an entry.

        Raises:
            Busy: There are too many.
            CommandFailed: The file cannot be written; then it is not noted.
        """
        if len(self._entries) >= MAX_ENTRIES:
            raise Busy(f"{MAX_ENTRIES} commands are scheduled already")
        self._write({**self._entries, entry.id: entry})

    def take(self, entry_id: str) -> ScheduledCommand:
        """Remove an entry and return it.

        Raises:
            NotFound: There is none of that id.
            CommandFailed: The file cannot be written; then it stays.
        """
        entry = self._entries.get(entry_id)
        if entry is None:
            raise NotFound(f"nothing is scheduled as {entry_id[:100]!r}", kind="schedule", name=entry_id[:100])
        self._write({known: other for known, other in self._entries.items() if known != entry_id})
        return entry

    async def run(self, ctx: Context[Any], id: Annotated[str, Option("the entry", complete="job_schedule.id")]) -> Any:
        """Run now what was to be run later, as whoever asked for it."""
        entry = self.take(id)
        peer = Peer(name=entry.peer, role=entry.role, uid=entry.uid, transport=entry.transport)
        # What has a uid is judged by today's rules; the role that its listener gave is only the fallback.
        peer = replace(peer, role=ctx.runtime.policy.role_of(peer, entry.role).role)
        final = await ctx.dispatcher.run(peer, entry.command, entry.options)
        if isinstance(final, Failure):
            logger.warning("! the scheduled %s of %s: %s", entry.command, entry.peer, final.message)
            raise error_from_wire(final.message, final.code, dict(final.fields))
        return final.response

    async def keep(self, run: Callable[[str], object]) -> None:
        """Have each entry run when it is due, for ever.

        Args:
            run: Starts the entry of this id, which it takes.
        """
        started: set[str] = set()
        while True:
            self._changed.clear()
            started &= self._entries.keys()
            waiting = [entry for entry in self.entries() if entry.id not in started]
            now = self._now()
            for entry in waiting:
                if entry.at <= now:
                    started.add(entry.id)
                    self._run_or_drop(entry, run, now)
            left = [entry.at - now for entry in waiting if entry.at > now]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min([*left, _LONGEST_NAP])):
                    await self._changed.wait()

    def _run_or_drop(self, entry: ScheduledCommand, run: Callable[[str], object], now: float) -> None:
        try:
            if now - entry.at > _TOO_LATE:
                logger.warning("! %s of %s was due while nothing ran, and is dropped", entry.command, entry.peer)
                self.take(entry.id)
            else:
                run(entry.id)
        except CommandFailed as exc:
            logger.warning("! the scheduled %s of %s: %s", entry.command, entry.peer, exc)

    def _read(self) -> list[ScheduledCommand]:
        try:
            with open(self._path, "rb") as file:
                return msgspec.json.decode(file.read(), type=list[ScheduledCommand])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as exc:
            logger.warning("! cannot read what was scheduled (%s): %s", self._path, exc)
            return []

    def _write(self, entries: dict[str, ScheduledCommand]) -> None:
        """Replace the file as a whole, so that it is never half of one."""
        temporary = f"{self._path}.new"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(file, "wb") as out:
                out.write(msgspec.json.encode(list(entries.values())))
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, self._path)
        except OSError as exc:
            raise CommandFailed(f"cannot write the schedule: {exc.strerror}") from exc
        self._entries = entries
        self._changed.set()


def schedule_commands(schedule: Schedule) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("job_schedule", role="observe")
    async def job_schedule(ctx: Context) -> list[ScheduledCommand]:
        """List what is to be run later, the next one first."""
        return schedule.entries()

    @commands.command("job_schedule_add", role="operate")
    async def job_schedule_add(
        ctx: Context,
        command: Annotated[str, Option("the command")],
        at: Annotated[float, msgspec.Meta(ge=0, le=2**40), Option("when, in seconds since 1970")],
        options: Annotated[dict[str, Any], Option("its options")] = {},  # noqa: B006 - a signature, which nobody changes
    ) -> ScheduledCommand:
        """Run a command later, as whoever asks for it now."""
        found = ctx.dispatcher.find(command)
        require_role(ctx.runtime, ctx.peer, found.role, command)
        if ctx.authorize is not None:
            await ctx.authorize(found, options)
        found.options.decode(options)
        if "name" in options and command.startswith("job_"):
            await ctx.call("job_status", name=options["name"], usage=False)  # one that there is
        peer = ctx.peer
        entry = ScheduledCommand(
            id=secrets.token_hex(4), at=at, command=found.name, options=options, peer=str(peer),
            role=peer.role, uid=peer.uid, transport=peer.transport,
        )  # fmt: skip
        schedule.add(entry)
        return entry

    @commands.command("job_schedule_cancel", role="operate")
    async def job_schedule_cancel(
        ctx: Context, id: Annotated[str, Option("the entry", complete="job_schedule.id")]
    ) -> ScheduledCommand:
        """Forget what was to be run later."""
        return schedule.take(id)

    commands.command("job_schedule_run", role="admin", record=False)(schedule.run)
    return commands
