"""The pool: requests to workers of named profiles."""

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import TypeAlias, TypeVar

from ctld.errors import NotFound
from ctld.gatherer.crew import Crew, CrewSnapshot
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import (
    Copied,
    Executed,
    Request,
    copy_matching_request,
    copy_request,
    exec_request,
    glob_request,
    noop_request,
    ping_request,
)
from ctld.gatherer.restarts import Patience

__all__ = ["Pool"]

T = TypeVar("T")

_Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Pool:
    """Gatherer workers by profile: each serves one request at a time, several run side by side.

    Use it as `async with Pool({"root": Profile(user="root")}) as pool:`.  Paths are bytes in
    results and may be text in requests.  Every method may raise what `Crew.call()` does, and
    `NotFound` for a profile that does not exist.
    """

    def __init__(self, profiles: Mapping[str, Profile], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._profiles = dict(profiles)
        self._crews: dict[str, Crew] = {}
        self._health: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Pool":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Be ready for requests; workers start when the first of them come."""
        self._crews = {name: Crew(name, profile, self._patience) for name, profile in self._profiles.items()}
        self._health = asyncio.create_task(self._watch_health())

    async def close(self) -> None:
        """Refuse new requests, end those that run, and all workers."""
        if self._health is not None:
            self._health.cancel()
            await asyncio.wait([self._health])
            self._health = None
        await asyncio.gather(*(crew.close() for crew in self._crews.values()))

    def profile(self, name: str) -> Profile:
        """Return the settings of a profile.

        Raises:
            NotFound: There is none of that name.
        """
        if name not in self._profiles:
            raise _no_profile(name)
        return self._profiles[name]

    def snapshot(self) -> tuple[CrewSnapshot, ...]:
        """Return what the workers of each profile do."""
        return tuple(crew.snapshot() for crew in self._crews.values())

    async def noop(self, profile: str, *, timeout: float | None = None) -> None:
        """See that a worker can be had."""
        await self._call(profile, noop_request(), timeout)

    async def ping(self, profile: str, *, timeout: float | None = None) -> None:
        """See that a worker can be had, and have it say so on its standard error."""
        await self._call(profile, ping_request(), timeout)

    async def glob(self, profile: str, pattern: _Path, *, timeout: float | None = None) -> tuple[bytes, ...]:
        """Return the paths that match a pattern, in bytewise order.

        Args:
            profile: Whose eyes to look with.
            pattern: A shell pattern; a relative one starts at `/`.
            timeout: How many seconds it may take; None: as the profile says.
        """
        return await self._call(profile, glob_request(os.fsencode(pattern)), timeout)

    async def exec(self, profile: str, line: str | bytes, *, timeout: float | None = None) -> Executed:
        """Run a command by `/bin/sh -c`, in a session of its own, with nothing to read.

        Args:
            profile: Whose rights it has.
            line: The command line.
            timeout: How many seconds it may take, before it is killed with its group.
        """
        return await self._call(profile, exec_request(os.fsencode(line)), timeout)

    async def copy(
        self, profile: str, source: _Path, root: _Path, *, timeout: float | None = None
    ) -> tuple[Copied, ...]:
        """Copy a file, or a tree, to the same path below a root.

        Args:
            profile: Whose rights are needed to read.
            source: An absolute path.
            root: An existing directory.
            timeout: How many seconds it may take; what is complete by then stays.

        Returns:
            What became of it, and of what it led to.
        """
        return await self._call(profile, copy_request(os.fsencode(source), os.fsencode(root)), timeout)

    async def copy_matching(
        self, profile: str, pattern: _Path, root: _Path, limit: int = 0, *, timeout: float | None = None
    ) -> tuple[Copied, ...]:
        """Copy all paths that match, newest first up to a limit on their bytes; see `copy()`.

        Args:
            profile: Whose rights are needed to read.
            pattern: An absolute shell pattern.
            root: An existing directory.
            limit: How many bytes all files together may have; 0: any number.
            timeout: How many seconds it may take; what is complete by then stays.
        """
        request = copy_matching_request(os.fsencode(pattern), os.fsencode(root), limit)
        return await self._call(profile, request, timeout)

    async def _call(self, profile: str, request: Request[T], timeout: float | None) -> T:
        crew = self._crews.get(profile)
        if crew is None:
            raise _no_profile(profile)
        return await crew.call(request, timeout)

    async def _watch_health(self) -> None:
        while True:
            await asyncio.sleep(self._patience.probe_interval)
            await asyncio.gather(*(crew.check_health() for crew in self._crews.values()))


def _no_profile(name: str) -> NotFound:
    return NotFound(f"there is no gatherer profile {name!r}", kind="profile", name=name)
