"""The controller: what the actions of `control` programs mean as commands (specification F6).

A rule `DIRECTORY NAME` is the job `DIRECTORY/NAME`.  Every action is a command, asked for as
any other client would: the policy, the locks, the history and the events are the same.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import msgspec

from ctld.client_handler import ClientHandler
from ctld.dialects.deadline import call_later, end_input
from ctld.dialects.dialect import Dialect
from ctld.dialects.fss_control.actions import Order, delay_of, moment_of
from ctld.dialects.fss_control.codec import FssCodec
from ctld.dialects.fss_control.packet import HEAD_SIZE, MAX_PACKET
from ctld.dialects.fss_control.statuses import DONE, SUCCESS, SUPPORTED_NOT
from ctld.dialects.sentence import sentence_of
from ctld.endpoint import Listen
from ctld.wire.codec import Codec
from ctld.wire.messages import Banner, Failure, Reply, Request

if TYPE_CHECKING:
    from ctld.commands.job_wishes import Signalled

__all__ = ["FSS_CONTROL", "FssHandler", "FssListen", "contradictions"]

_ON_JOBS: Final = {
    "start": ("job_start", SUCCESS),
    "stop": ("job_stop", SUCCESS),
    "restart": ("job_restart", SUCCESS),
    "rerun": ("job_restart", SUCCESS),
    "kill": ("job_kill", SUCCESS),
    "reload": ("job_signal", DONE),  # without a signal, it is the job's own for this
    "pause": ("job_pause", DONE),
    "resume": ("job_resume", DONE),
    "freeze": ("job_freeze", DONE),
    "thaw": ("job_thaw", DONE),
}
"""For each action on a rule: the command, and what its success is called."""

_ON_THE_MACHINE: Final = {"shutdown": "shutdown", "reboot": "control_reboot", "kexec": "control_kexec"}


class FssListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[listen]]` table of this dialect.

    Attributes:
        dialect: The language that is spoken there.
        init_replies: The type of answers about kexec, reboot and shutdown; the released
            `control` program only knows `controller`.
        allow_shutdown: Whether `shutdown` stops the daemon.
        reboot_command: The program and arguments that `reboot` runs; without, it is not supported.
        kexec_command: The same for `kexec`.
        timeout: Seconds for a whole packet to arrive.
        max_packet: The largest packet that is taken, in bytes.
    """

    dialect: str = "fss-control"
    init_replies: Literal["init", "controller"] = "init"
    allow_shutdown: bool = False
    reboot_command: tuple[str, ...] = ()
    kexec_command: tuple[str, ...] = ()
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    max_packet: Annotated[int, msgspec.Meta(ge=HEAD_SIZE, le=2**32 - 1)] = MAX_PACKET


def contradictions(listens: Sequence[FssListen]) -> Iterator[tuple[int, str, str]]:
    """Find what several tables say differently, though there is only one machine: which one, its key, and why."""
    for key in ("reboot_command", "kexec_command"):
        first: tuple[str, ...] = ()
        for index, listen in enumerate(listens):
            argv = getattr(listen, key)
            if first and argv and argv != first:
                yield index, key, f"another [[listen]] table says {first[0]!r}: there is one machine"
            first = first or argv


def _mistakes(listen: FssListen) -> Iterator[tuple[str, str]]:
    for key in ("reboot_command", "kexec_command"):
        argv = getattr(listen, key)
        if argv and not argv[0]:
            yield key, "the name of the program is empty"
        elif any("\0" in word for word in argv):
            yield key, "a word of a command line holds no NUL"


class FssHandler(ClientHandler[Any]):
    """One `control` program's conversation: a packet, an answer, and the end."""

    dialect = "fss-control"

    def make_codec(self) -> Codec:
        """Return the translation."""
        self._codec = FssCodec(max_size=self._keys.max_packet, init_type=self._keys.init_replies)
        return self._codec

    def banner(self) -> Banner | None:
        """Return None: the client speaks first."""
        return None

    async def on_connect(self) -> None:
        """Start the clock for the packet."""
        call_later(self._keys.timeout, self._expire)

    async def handle_cmd(self, request: Request, /) -> Reply | Failure:
        """Carry an order out, now or later."""
        order: Order = request.opts["order"]
        found = self._command_of(order)
        if found is None:
            return self.error(f"{order.action} is switched off here", "unknown-command", status=SUPPORTED_NOT)
        command, options, success = found
        if order.condition != "now":
            when = {"delay": delay_of(order)} if order.condition == "in" else {"at": moment_of(order, time.time())}
            command, options, success = "job_schedule_add", {"command": command, "options": options, **when}, DONE
        final = await super().handle_cmd(Request(command, options))
        if isinstance(final, Reply):
            if command == "job_signal" and not cast("Signalled", final.response).processes:
                return self.error(f"no process of job {order.rule!r} runs")
            return Reply(success)
        # No job has such a name: as if there were none.  Its fields, which may be called as ours, stay behind.
        return self.error(sentence_of(final), "not-found" if final.code == "job.name" else final.code)

    def _command_of(self, order: Order) -> tuple[str, Mapping[str, Any], str] | None:
        """Return the command of an action, its options, and what its success is called; None: it is switched off."""
        if order.action in _ON_JOBS:
            command, success = _ON_JOBS[order.action]
            return command, {"name": order.rule}, success
        keys = self._keys
        on = {"shutdown": keys.allow_shutdown, "reboot": keys.reboot_command, "kexec": keys.kexec_command}
        return (_ON_THE_MACHINE[order.action], {}, DONE) if on[order.action] else None

    def _expire(self) -> None:
        if self._codec.expire():
            end_input(self.socket)

    @property
    def _keys(self) -> FssListen:
        listen = self._site.listen
        return listen if isinstance(listen, FssListen) else FssListen(address="")


FSS_CONTROL: Final = Dialect(FssListen, FssHandler, _mistakes, contradictions)
"""What the daemon knows of this dialect."""
