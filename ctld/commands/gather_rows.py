"""What the commands about gatherers take and answer; bytes that are no UTF-8 get through as base64."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from ctld.commands.options import Option
from ctld.gatherer.crew import CrewSnapshot, WorkerSnapshot
from ctld.gatherer.names import as_text
from ctld.gatherer.replies import Executed

__all__ = [
    "CommandLine",
    "CommandOutput",
    "GatheredPath",
    "PoolRow",
    "PoolState",
    "ProfileName",
    "Seconds",
    "command_output",
    "gathered_path",
    "pool_row",
]

ProfileName = Annotated[str, Option("the kind of worker", complete="gather_pool.profile")]
CommandLine = Annotated[str, msgspec.Meta(min_length=1, max_length=128 * 1024), Option("what /bin/sh is to run")]
Seconds = Annotated[
    Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None,
    Option("how many seconds it may take; else as the profile says"),
]

PoolState: TypeAlias = Literal["idle", "busy", "degraded"]


class PoolRow(msgspec.Struct, kw_only=True):
    """The workers of one profile, in the answer of `gather_pool`.

    Attributes:
        profile: Its name.
        state: `degraded` while requests fail at once, because workers crashed lately.
        calls: How many requests are being served or wait.
        requests: How many were sent to workers.
        starts: How many workers were started.
        restarts: How many of them because one had ended against our will.
        degraded: Seconds until that is over.
        workers: Those that run.
    """

    profile: str
    state: PoolState
    calls: int
    requests: int
    starts: int
    restarts: int
    degraded: float
    workers: tuple[WorkerSnapshot, ...]


class GatheredPath(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A path.

    Attributes:
        path: The path; U+FFFD stands for what is no UTF-8.
        base64: Its bytes, if they are not all UTF-8.
    """

    path: str
    base64: str = ""


class CommandOutput(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a command.

    Attributes:
        status: Its exit status, or minus the signal that killed it.
        stdout: What it printed; U+FFFD stands for what is no UTF-8.
        stderr: What it printed on its standard error.
        stdout_base64: The bytes, if they are not all UTF-8.
        stderr_base64: Likewise.
    """

    status: int
    stdout: str
    stderr: str
    stdout_base64: str = ""
    stderr_base64: str = ""


def pool_row(crew: CrewSnapshot) -> PoolRow:
    """Return how the workers of a profile are."""
    state: PoolState = "degraded" if crew.degraded else "busy" if crew.calls else "idle"
    return PoolRow(
        profile=crew.profile,
        state=state,
        calls=crew.calls,
        requests=crew.requests,
        starts=crew.starts,
        restarts=crew.crashes,
        degraded=crew.degraded,
        workers=crew.workers,
    )


def gathered_path(path: bytes) -> GatheredPath:
    """Return a path as JSON can carry it."""
    text, exact = as_text(path)
    return GatheredPath(path=text, base64=exact)


def command_output(executed: Executed) -> CommandOutput:
    """Return what became of a command as JSON can carry it."""
    stdout, stdout_base64 = as_text(executed.output)
    stderr, stderr_base64 = as_text(executed.errors)
    return CommandOutput(
        status=executed.status, stdout=stdout, stderr=stderr, stdout_base64=stdout_base64, stderr_base64=stderr_base64
    )
