"""Conversations with peers of a guest agent, where the commands are the daemon's."""

from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from ctld.address import parse_address
from ctld.client_handler import ClientHandler
from ctld.dialects.deadline import call_later, end_connection, end_input
from ctld.dialects.dialect import Dialect
from ctld.dialects.guest_agent.codec import GuestAgentCodec, RawAnswer
from ctld.dialects.guest_agent.commands import OPTION_COMMAND, NoSuchOption
from ctld.dialects.guest_agent.getoption import GET_OPTION, option_answer
from ctld.dialects.guest_agent.socket_file import prepare_folder
from ctld.endpoint import Listen
from ctld.wire.codec import Codec
from ctld.wire.messages import Banner, Failure, Reply, Request

if TYPE_CHECKING:
    from ctld.dialects.guest_agent.commands import OptionValue

__all__ = ["GUEST_AGENT", "GuestAgentHandler", "GuestAgentListen"]


class GuestAgentListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[listen]]` table of this dialect.

    Attributes:
        dialect: The language that is spoken there.
        timeout: Seconds for each connection: its request, the command and the answer.
        max_request: The longest request that is taken, in bytes.
        strict_errors: Whether a peer is told (102, 104) what the original only lets it guess.
    """

    dialect: str = "guest-agent"
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    max_request: Annotated[int, msgspec.Meta(ge=2)] = 1024 * 1024
    strict_errors: bool = False


class GuestAgentHandler(ClientHandler[Any]):
    """One peer's conversation: a request, an answer, and the end."""

    dialect = "guest-agent"

    def make_codec(self) -> Codec:
        """Return the translation."""
        listen = self._keys
        self._codec = GuestAgentCodec(listen.max_request, strict_errors=listen.strict_errors)
        return self._codec

    def banner(self) -> Banner | None:
        """Return None: the client speaks first."""
        return None

    async def on_connect(self) -> None:
        """Start the clock: there is one time for everything (A3)."""
        call_later(self._keys.timeout, self._expire)

    async def handle_cmd(self, request: Request, /) -> Reply | Failure:
        """Run the command that a name stands for: dots are as good as underscores."""
        if request.cmd != GET_OPTION:
            name = request.cmd.replace(".", "_")
            command = self._site.dispatcher.commands.get(name)
            if command is not None and command.needs_listener:
                return self.error(
                    f"{name} does not end with one answer, and this wire has no room for more", "bad-request"
                )
            return await super().handle_cmd(Request(name, request.options))
        # Whatever else such a request holds, as the original does not look at it.
        names = {key.lower(): value for key, value in request.opts.items() if value is not None}
        option = names.get("option") or ""
        if not isinstance(option, str):
            return self.error("Option is no string")
        found = await super().handle_cmd(Request(OPTION_COMMAND, {"option": option}))
        if isinstance(found, Reply):
            return Reply(RawAnswer(option_answer(option, 0, "", cast("OptionValue", found.response).value)))
        if found.code == NoSuchOption.code:
            return Reply(RawAnswer(option_answer(option, cast("int", found.fields["status"]), found.message, "")))
        return found

    def _expire(self) -> None:
        """End what the time was for: the request, or else the answer; a command that runs goes on."""
        if not self._codec.understood:
            self._codec.expire()
            end_input(self.socket)
        elif not self._codec.answered:
            self._codec.expire()
        else:
            end_connection(self.socket)

    @property
    def _keys(self) -> GuestAgentListen:
        listen = self._site.listen
        return listen if isinstance(listen, GuestAgentListen) else GuestAgentListen(address="")


def _prepare(listen: GuestAgentListen) -> None:
    """Make the folder of the socket (A7): that of an agent is below `/run`, which is empty after each boot."""
    address = parse_address(listen.address)
    if address.kind == "unix" and not address.abstract:
        prepare_folder(address.path, int(listen.mode, 8))


GUEST_AGENT: Final = Dialect(GuestAgentListen, GuestAgentHandler, prepare=_prepare)
"""What the daemon knows of this dialect."""
