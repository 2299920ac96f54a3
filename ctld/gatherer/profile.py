"""Under which rights workers run, as a frozen value; in the configuration `[gatherer.profiles.NAME]`."""

import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from ctld.processes import PIPE, Spawn

__all__ = ["GathererSettings", "Profile"]

_MIB: Final = 1024 * 1024

# Where this very package was imported from.  It comes last: nothing there can hide the standard library.
_HOME: Final = os.fspath(Path(__file__).parents[2])

_BOOT: Final = (
    f"import sys; sys.path.append({_HOME!r}); "
    "from ctld.gatherer.worker import main; sys.exit(main(sys.argv[1:]))"
)  # fmt: skip

_IONICE_CLASS: Final = {"realtime": "1", "best-effort": "2", "idle": "3"}

# Ids and patterns cannot be turned into something else by what is in the daemon's environment.
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\0]+\Z")]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of worker.

    Attributes:
        workers: How many there are at most; they start when they are needed.
        user: Whom they run as, a name or a number; None: the daemon's user.
        group: Their group; None: the user's.
        groups: Their supplementary groups; None: the user's.
        nice: Their priority, -20 to 19.
        ionice: Their priority at the disk: `idle`, `best-effort:0` to `:7`, `realtime:0` to `:7`.
        memory: How many bytes of address space they and each of their commands may have.
        forbid: Patterns of paths that are never copied; one covers what is below it.
        owner: The user and group ids that own the copies; None: the worker's.
        max_output: How many bytes each output of a command may have before it is killed.
        max_response: How many bytes one answer may have before its worker is killed.
        max_requests: After how many requests a worker is replaced by a fresh one.
        max_resident: With how many bytes of memory it is replaced.
        max_waiting: How many requests may wait for a worker.
        timeout: How long a request may take in seconds, waiting included, where it does not say.
        python: The interpreter; None: the daemon's.
    """

    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    user: _Name | int | None = None
    group: _Name | int | None = None
    groups: tuple[_Name | int, ...] | None = None
    nice: Annotated[int, msgspec.Meta(ge=-20, le=19)] | None = None
    ionice: Annotated[str, msgspec.Meta(pattern=r"^(idle|(best-effort|realtime):[0-7])\Z")] | None = None
    memory: Annotated[int, msgspec.Meta(ge=64 * _MIB)] | None = None
    forbid: tuple[_Name, ...] = ()
    owner: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]] | None = None
    max_output: Annotated[int, msgspec.Meta(ge=0)] | None = 16 * _MIB
    max_response: Annotated[int, msgspec.Meta(ge=4096)] = 64 * _MIB
    max_requests: Annotated[int, msgspec.Meta(ge=1)] = 1000
    max_resident: Annotated[int, msgspec.Meta(ge=16 * _MIB)] = 256 * _MIB
    max_waiting: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    python: _Name | None = None

    def arguments(self) -> tuple[str, ...]:
        """Return the start options of a worker."""
        words = ["--sigint=v2", *(f"--forbid={pattern}" for pattern in self.forbid)]
        if self.owner is not None:
            words.append("--owner={}:{}".format(*self.owner))
        if self.max_output is not None:
            words.append(f"--max-output={self.max_output}")
        return tuple(words)

    def spawn(self) -> Spawn:
        """Return how one worker is started.

        It neither sees the daemon's environment nor writes a core file, which would hold what it read.
        """
        argv = (self.python or sys.executable, "-I", "-S", "-c", _BOOT, *self.arguments())
        limits = {resource.RLIMIT_CORE: (0, 0)}
        if self.memory is not None:
            limits[resource.RLIMIT_AS] = (self.memory, self.memory)
        return Spawn(
            argv=(*self._ionice(), *argv),
            env=_ENVIRONMENT,
            cwd="/",
            user=self.user,
            group=self.group,
            extra_groups=self.groups,
            umask=0o077,
            nice=self.nice,
            limits=limits,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            kill_group=True,
        )

    def _ionice(self) -> tuple[str, ...]:
        if self.ionice is None:
            return ()
        name, _, level = self.ionice.partition(":")
        return ("ionice", "-c", _IONICE_CLASS[name], *(("-n", level) if level else ()))


class GathererSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[gatherer]` table.

    Attributes:
        reports: The directory of reports and copies; only root and the daemon's user may write there.
            Workers of other users have to be able to reach it.  Empty: `reports` in the state directory.
        max_report: With how many bytes in a report no further item of it is begun.
        profiles: The kinds of workers, by name.
    """

    reports: str = ""
    max_report: Annotated[int, msgspec.Meta(ge=1)] = 4 * 1024 * _MIB
    profiles: Mapping[str, Profile] = {}
