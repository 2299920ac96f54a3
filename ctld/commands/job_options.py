"""What the commands about jobs share: options, and the lock of a job."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.errors import Locked
from ctld.locks import Manipulable

__all__ = ["JobLock", "JobName", "ProcessNumber", "Wait", "hold_if_free"]

JobName = Annotated[str, Option("the job", complete="job_list.name")]
ProcessNumber = Annotated[Annotated[int, msgspec.Meta(ge=0)] | None, Option("only the process of this number")]
Wait = Annotated[bool, Option("answer when the job is there, or cannot get there")]


class JobLock(Manipulable):
    """The manipulation lock of a job, whether there is such a job or not yet."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def lock_resource(self) -> tuple[str, str]:
        """Name the resource."""
        return ("job", self._name)


@asynccontextmanager
async def hold_if_free(ctx: Context[Any], name: str) -> AsyncIterator[None]:
    """Hold a job's lock for the time of an `async with` block, unless somebody else holds it."""
    async with AsyncExitStack() as stack:
        with suppress(Locked):
            await stack.enter_async_context(ctx.manipulate(JobLock(name)))
        yield
