"""Commands at a later time: kept in a file, run as whoever asked for them.

Whether the caller may is asked twice: when it is noted, so that nobody waits for a denial,
and when it is run, with the rules of that day.  An entry leaves the file before it runs, so
that a command that ends the daemon is not run again by the next one.

There are two clocks.  What is due at a time follows the clock on the wall, also when that is set.  What is
due after a delay follows the one that nobody sets, for as long as this daemon lives; the
next daemon only knows the time on the wall that the delay came to.

What was due while no daemon ran, or while the machine slept, runs as soon as there is one, unless it is
more than an hour late: then it is told in the log and dropped, since nobody expects it any more.
"""

import asyncio
import contextlib
import logging
import pwd
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from ctld.accounts import Accounts
from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.permission import require_role
from ctld.commands.registry import CommandRegistry
from ctld.commands.schedule_file import MAX_ENTRY, ScheduledCommand, read_entries, write_entries
from ctld.errors import BadRequest, Busy, CommandFailed, InvalidOptions, NotFound, error_from_wire
from ctld.peer import Peer, Role
from ctld.policy import Policy
from ctld.secret import SECRET_SCHEMA
from ctld.wire.messages import Failure

__all__ = ["MAX_ENTRIES", "Planned", "Schedule", "schedule_commands"]

logger = logging.getLogger("ctld.schedule")

# More than any person plans; each is a line in a file that is written as a whole.
MAX_ENTRIES: Final = 1000

# The clock may be set while nothing is due; this is how soon that is noticed, in seconds.
_LONGEST_NAP: Final = 60.0

# What is later than this, in seconds, is not what anybody wants any more.
_TOO_LATE: Final = 3600.0

# Ten years: who plans further ahead has mistyped a number.
_FARTHEST: Final = 3660 * 86_400.0

# Of the options of another command nobody knows here which are secret; a name says what it is about.
_Options: TypeAlias = Annotated[
    dict[str, Any],
    msgspec.Meta(extra_json_schema={"properties": {"name": {}}, "additionalProperties": dict(SECRET_SCHEMA)}),
    Option("its options"),
]

_EntryId: TypeAlias = Annotated[str, Option("the entry", complete="job_schedule.id")]


class Planned(msgspec.Struct, kw_only=True):
    """What is to be run later, as callers are told.

    Attributes:
        id: The entry, for `job_schedule_cancel`.
        at: When it is due, in seconds since 1970.
        command: The command.
        options: Its options.
        peer: Who asked for it.
    """

    id: str
    at: float
    command: str
    options: dict[str, Any]
    peer: str


def _planned(entry: ScheduledCommand) -> Planned:
    return Planned(id=entry.id, at=entry.at, command=entry.command, options=entry.options, peer=entry.peer)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # which goes on while the machine sleeps


class Schedule:
    """What is to be run later; the file is read when it is first needed.

    Args:
        path: The file.
        now: The clock on the wall.
        uptime: The clock that nobody sets.
    """

    def __init__(
        self, path: str, *, now: Callable[[], float] = time.time, uptime: Callable[[], float] = _uptime
    ) -> None:
        self._path = path
        self._now = now
        self._uptime = uptime
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._known: dict[str, ScheduledCommand] | None = None
        self._delayed: dict[str, float] = {}  # when they are due, by the clock that nobody sets
        self._started: set[str] = set()

    async def entries(self) -> list[ScheduledCommand]:
        """Return what is to be run, the next one first; times are by the clock on the wall as it is now.

        Raises:
            CommandFailed: The file cannot be read.
        """
        async with self._lock:
            return self._in_order(await self._read())

    async def add(self, entry: ScheduledCommand, *, delay: float | None = None) -> None:
        """Note an entry.

        Args:
            entry: The entry.
            delay: In how many seconds it is due, whatever becomes of the clock on the wall.

        Raises:
            Busy: There are too many.
            InvalidOptions: It is too long.
            CommandFailed: The file cannot be read or written; then it is not noted.
        """
        if len(msgspec.json.encode(entry)) > MAX_ENTRY:
            raise InvalidOptions(f"the options are longer than a schedule keeps ({MAX_ENTRY} bytes)", path="$.options")
        async with self._lock:
            known = await self._read()
            if len(known) >= MAX_ENTRIES:
                raise Busy(f"{MAX_ENTRIES} commands are scheduled already")
            if delay is not None:
                self._delayed[entry.id] = self._uptime() + delay
            await self._replace({**known, entry.id: entry})

    async def find(self, entry_id: str) -> ScheduledCommand:
        """Return an entry.

        Raises:
            NotFound: There is none of that id.
            CommandFailed: The file cannot be read.
        """
        async with self._lock:
            return _entry_of(await self._read(), entry_id)

    async def take(self, entry_id: str) -> ScheduledCommand:
        """Remove an entry and return it.

        Raises:
            NotFound: There is none of that id.
            CommandFailed: The file cannot be read or written; then it stays.
        """
        async with self._lock:
            known = await self._read()
            entry = _entry_of(known, entry_id)
            await self._replace({other: known[other] for other in known if other != entry_id})
        return entry

    async def run(self, ctx: Context[Any], id: _EntryId) -> Any:
        """Run now what was to be run later, as whoever asked for it."""
        try:
            async with ctx.shield():
                entry = await self.take(id)
        except CommandFailed as exc:
            self._started.discard(id)  # it is there still, unless somebody else was faster: to be tried again
            logger.warning("! %s cannot be run: %s", id[:100], exc)
            raise
        peer = _peer_of_today(entry)
        peer = replace(peer, role=ctx.runtime.policy.role_of(peer, entry.fallback).role)
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
        while True:
            self._changed.clear()
            nap = _LONGEST_NAP
            try:
                nap = await self._run_due(run)
            except CommandFailed as exc:
                logger.warning("! what is scheduled waits: %s", exc)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._changed.wait()

    async def _run_due(self, run: Callable[[str], object]) -> float:
        """Start what is due; return the seconds until that is worth another look."""
        entries = await self.entries()
        self._started.intersection_update(entry.id for entry in entries)
        now = self._now()
        nap = _LONGEST_NAP
        for entry in entries:
            if entry.id in self._started:
                continue
            if entry.at > now:
                nap = min(nap, entry.at - now)
            elif now - entry.at > _TOO_LATE:  # of a delay: by the clock that nobody sets
                logger.warning("! %s of %s is dropped: it was due long ago", entry.command, entry.peer)
                with contextlib.suppress(NotFound):  # somebody has cancelled it meanwhile
                    await self.take(entry.id)
            else:
                run(entry.id)
                self._started.add(entry.id)
        return nap

    def _in_order(self, known: dict[str, ScheduledCommand]) -> list[ScheduledCommand]:
        ahead = self._now() - self._uptime()
        entries = [
            msgspec.structs.replace(entry, at=self._delayed[entry.id] + ahead) if entry.id in self._delayed else entry
            for entry in known.values()
        ]
        return sorted(entries, key=lambda entry: (entry.at, entry.id))

    async def _read(self) -> dict[str, ScheduledCommand]:
        if self._known is None:
            self._known = {entry.id: entry for entry in await asyncio.to_thread(read_entries, self._path)}
        return self._known

    async def _replace(self, entries: dict[str, ScheduledCommand]) -> None:
        """Write the file, in a thread because a disk takes its time."""
        await asyncio.to_thread(write_entries, self._path, list(entries.values()))
        self._known = entries
        self._delayed = {id: due for id, due in self._delayed.items() if id in entries}
        self._changed.set()


def schedule_commands(schedule: Schedule) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("job_schedule", role="observe")
    async def job_schedule(ctx: Context) -> list[Planned]:
        """List what is to be run later, the next one first."""
        return [_planned(entry) for entry in await schedule.entries()]

    @commands.command("job_schedule_add", role="operate")
    async def job_schedule_add(
        ctx: Context,
        command: Annotated[str, Option("the command")],
        at: Annotated[float | None, Option("when, in seconds since 1970")] = None,
        delay: Annotated[float | None, Option("or in how many seconds from now")] = None,
        options: _Options = {},  # noqa: B006 - a signature, which nobody changes
    ) -> Planned:
        """Run a command later, as whoever asks for it now."""
        due = _due(at, delay)
        await _check(ctx, command, options)
        peer = ctx.peer
        entry = ScheduledCommand(
            id=secrets.token_hex(4), at=due, command=command, options=options, peer=str(peer),
            role=peer.role, uid=peer.uid, transport=peer.transport, fallback=_fallback(ctx.runtime.policy, peer),
        )  # fmt: skip
        async with ctx.shield():
            await schedule.add(entry, delay=delay)
        return _planned(entry)

    @commands.command("job_schedule_cancel", role="operate")
    async def job_schedule_cancel(ctx: Context, id: _EntryId) -> Planned:
        """Forget what was to be run later: one's own, or what one could run oneself."""
        entry = await schedule.find(id)
        if entry.uid is None or entry.uid != ctx.peer.uid:
            command = ctx.dispatcher.commands.get(entry.command)
            role = "admin" if command is None else command.role
            require_role(ctx.runtime, ctx.peer, role, f"entry {id} ({entry.command} of {entry.peer})")
        async with ctx.shield():
            return _planned(await schedule.take(id))

    commands.command("job_schedule_run", role="admin", record=False)(schedule.run)
    return commands


def _entry_of(known: dict[str, ScheduledCommand], entry_id: str) -> ScheduledCommand:
    if entry_id not in known:
        raise NotFound(f"nothing is scheduled as {entry_id[:100]!r}", kind="schedule", name=entry_id[:100])
    return known[entry_id]


def _fallback(policy: Policy, peer: Peer) -> Role:
    """Return the role that a peer shall have later if no rule names it then.

    What a rule gave ends with the rule.  What the listener or a login gave has nothing that could be asked again.
    """
    named = policy.role_of(peer, "anyone") == policy.role_of(peer, "admin")
    return "anyone" if named else peer.role


def _peer_of_today(entry: ScheduledCommand) -> Peer:
    """Return who asked for an entry, in the groups that the user has by now."""
    peer = Peer(name=entry.peer, uid=entry.uid, transport=entry.transport)
    if entry.uid is None:
        return peer
    try:
        gid = pwd.getpwuid(entry.uid).pw_gid
    except KeyError:  # a user that is gone, or a number that never was one
        return peer
    return replace(peer, gid=gid, groups=Accounts().groups_of(entry.uid, gid))


def _due(at: float | None, delay: float | None) -> float:
    """Return when something is due, by the clock on the wall.

    Raises:
        InvalidOptions: That is not said once, or is no time for a plan.
    """
    now = time.time()
    if (at is None) == (delay is None):
        raise InvalidOptions("either at or delay says when", path="$.at")
    path, due = ("$.delay", now + delay) if delay is not None else ("$.at", at or 0.0)
    if due < now - _LONGEST_NAP:  # a moment ago is now: a request takes its time, too
        raise InvalidOptions("that time has passed", path=path)
    if due > now + _FARTHEST:
        raise InvalidOptions("that is more than ten years ahead", path=path)
    return due


async def _check(ctx: Context[Any], name: str, options: dict[str, Any]) -> None:
    """Find out now what would be wrong with a command later.

    Raises:
        CommandFailed: The caller may not run it, or nobody could.
    """
    command = ctx.dispatcher.find(name)
    require_role(ctx.runtime, ctx.peer, command.role, name)
    if ctx.authorize is not None:
        await ctx.authorize(command, options)
    if command.needs_listener:
        raise BadRequest(f"{name} needs a client that listens: it cannot be scheduled")
    if command.options.has_secrets:
        raise BadRequest(f"{name} takes a secret, which a schedule would keep in a file")
    command.options.decode(options)
    if name.startswith("job_") and isinstance(options.get("name"), str):
        await ctx.call("job_status", name=options["name"], usage=False)  # a job that there is
