"""Taskmaster's conversations: what its queries mean as commands about jobs (specification B2, B4, B5).

Every query is one or two commands, asked for as any other client would: the policy, the locks,
the history and the events are the same.  This wire knows nobody and waits for nothing, so
commands run with `wait=false` where the original answers at once, and what a caller may do
is the listener's `role`.
"""

import base64
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from ctld.address import parse_address
from ctld.client_handler import ClientHandler, current_request
from ctld.dialects.dialect import Dialect
from ctld.dialects.taskmaster.codec import INVALID_JOB_NAME, Answer, TaskmasterCodec
from ctld.endpoint import Listen
from ctld.errors import CommandFailed, ConfigError, Denied, NotFound, UnknownCommand, error_from_wire
from ctld.jobs.jobfile import InvalidJobFile
from ctld.peer import Role
from ctld.wire.codec import Codec
from ctld.wire.messages import Banner, Failure, Reply, Request

__all__ = ["TASKMASTER", "TaskmasterHandler", "TaskmasterListen"]

_SUCCESS: Final = Answer(kind="success")
_REDUNDANT: Final = Answer(kind="redundant")

_NOT_LOCAL: Final = "this wire authenticates nobody: it listens on loopback only, unless allow_remote = true"


class TaskmasterListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[listen]]` table of this dialect.

    Attributes:
        dialect: The language that is spoken there.
        role: What its callers may do, for the wire does not say who they are.
        allow_remote: Whether callers on other machines are served.
    """

    dialect: str = "taskmaster"
    role: Role = "observe"
    allow_remote: bool = False


class TaskmasterHandler(ClientHandler[Any]):
    """One Taskmaster client's conversation."""

    dialect = "taskmaster"

    def make_codec(self) -> Codec:
        """Return the translation."""
        return TaskmasterCodec()

    def banner(self) -> Banner | None:
        """Return None: the client speaks first."""
        return None

    async def on_connect(self) -> None:
        """Look where the client is: names in the configuration may lead anywhere.

        Raises:
            Denied: It is on another machine, and that is not allowed.
        """
        listen = self._site.listen
        if isinstance(listen, TaskmasterListen) and listen.allow_remote:
            return
        if self.socket.family != socket.AF_UNIX and not _is_loopback(self.socket.getpeername()[0]):
            raise Denied(_NOT_LOCAL)

    async def handle_cmd(self, request: Request, /) -> Reply | Failure:
        """Answer a query: with an `Answer`, or a failure whose message the client shows."""
        try:
            return Reply(await self._answer(request.cmd, request.opts["job"], request.opts["data"]))
        except CommandFailed as error:
            return Failure(_sentence(error), error.code, error.fields)

    async def _answer(self, cmd: str, job: str, data: bytes) -> Answer:
        about = self._about_a_job().get(cmd)
        if about is not None:
            if not job:
                raise CommandFailed(INVALID_JOB_NAME)
            return await about(job, data)
        if job:
            await self._look_for(job)
        if cmd == "list":
            return Answer(kind="list", names=tuple(row.name for row in await self._run("job_list", usage=False)))
        if cmd == "restart":
            await self._run("job_reload", keep_missing=True)
            return _SUCCESS
        raise UnknownCommand(f"there is no command {cmd[:100]!r}")

    def _about_a_job(self) -> dict[str, Callable[[str, bytes], Awaitable[Answer]]]:
        return {
            "start": self._wish("job_start"),
            "stop": self._wish("job_stop"),
            "kill": self._wish("job_kill"),
            "repair": self._wish("job_repair"),
            "status": self._status,
            "push": self._push,
            "pull": self._pull,
            "delete": self._delete,
            "reload": self._reload,
        }

    def _wish(self, command: str) -> Callable[[str, bytes], Awaitable[Answer]]:
        async def wish(job: str, data: bytes) -> Answer:
            done = await self._run(command, name=job, wait=False)
            return _SUCCESS if done.changed else _REDUNDANT

        return wish

    async def _status(self, job: str, data: bytes) -> Answer:
        status = await self._run("job_status", name=job, usage=False)
        text = f'"{job}" not running. '
        if status.desired == "running":
            text = f'"{job}" running. {status.alive} of {len(status.processes)} processes alive.'
        return Answer(kind="status", data=text.encode())

    async def _push(self, job: str, data: bytes) -> Answer:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise InvalidJobFile("not UTF-8") from None
        await self._run("job_push", name=job, data=text)
        return _SUCCESS

    async def _pull(self, job: str, data: bytes) -> Answer:
        file = await self._run("job_pull", name=job)
        content = base64.b64decode(file.base64) if file.base64 else file.data.encode()
        return Answer(kind="file", data=content, job=job)

    async def _delete(self, job: str, data: bytes) -> Answer:
        await self._run("job_delete", name=job)
        return _SUCCESS

    async def _reload(self, job: str, data: bytes) -> Answer:
        await self._look_for(job)  # the command would also load a job that has only a file
        invalid = (await self._run("job_reload", name=job)).invalid
        return Answer(kind="fail", error=f"Invalid job file: {invalid[job]}.") if job in invalid else _SUCCESS

    async def _look_for(self, job: str) -> None:
        """Fail if there is no such job (B4): what does not ask a command about it would not notice."""
        await self._run("job_status", name=job, usage=False)

    async def _run(self, command: str, /, **options: object) -> Any:
        """Run a command for the client, and return its result.

        Raises:
            CommandFailed: It failed, or is not for this client.
        """
        sink = current_request.get()
        assert sink is not None, "handle_cmd() is called by the conversation"
        sink.dispatched = True
        final = await self._site.dispatcher.run(self.peer, command, options, sink)
        if isinstance(final, Failure):
            raise error_from_wire(final.message, final.code, dict(final.fields))
        return final.response


def _sentence(error: CommandFailed) -> str:
    """Return the failure of a command as Taskmaster's clients are used to read it."""
    if error.code == "job.name":
        return INVALID_JOB_NAME
    if isinstance(error, NotFound) and error.fields.get("kind") == "job":
        return f'Job "{error.fields["name"]}" does not exist.'
    if error.code == "job.invalid":
        return f"Invalid job file: {error.message}."
    return error.message


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _mistakes(listen: TaskmasterListen) -> Iterable[tuple[str, str]]:
    try:
        address = parse_address(listen.address)
    except ConfigError:
        return  # which somebody else says
    if address.kind in ("tcp", "tls") and not listen.allow_remote and not _is_loopback(address.host):
        yield "address", _NOT_LOCAL


TASKMASTER: Final = Dialect(TaskmasterListen, TaskmasterHandler, _mistakes)
"""What the daemon knows of this dialect."""
