"""Asking a controller something (specification F5): a packet out, a packet in; standard library only."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from ctld.dialects.fss_control.actions import INIT_ACTIONS, RULE_ACTIONS, encode_order
from ctld.dialects.fss_control.packet import HEAD_SIZE, MalformedPacket, decode_head, encode_packet
from ctld.dialects.fss_control.payload import MalformedPayload
from ctld.dialects.fss_control.responses import Response, decode_response
from ctld.dialects.fss_control.statuses import BUSY, DONE, SUCCESS, status_number
from ctld.dialects.fss_control.words import InvalidWord, read_words
from ctld.errors import ConfigError, ConnectFailed, ConnectionLost, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DEFAULT_SETTINGS",
    "INIT_ACTIONS",
    "RULE_ACTIONS",
    "BadOrder",
    "ask",
    "is_good",
    "read_settings",
    "sentence",
    "socket_path",
]

DEFAULT_SETTINGS = "/etc/controller/settings"

_DEFAULTS = {
    "name_socket": "default",
    "path_socket": "/var/run/controller",
    "path_socket_prefix": "",
    "path_socket_suffix": ".socket",
}

_CONNECT_TIMEOUT = 10.0
_MAX_SETTINGS = 1024 * 1024


class BadOrder(ValueError):
    """The words are no order that a controller could understand."""


def ask(path: str, words: Sequence[str], *, timeout: float | None = None) -> Response:
    """Send an order and return the answer.

    Args:
        path: The socket of the controller.
        words: The action and its words.
        timeout: Seconds for the answer; None: as long as the action takes.

    Raises:
        BadOrder: The words are none.
        ConnectFailed: There is nobody.
        ConnectionLost: The connection ended before the answer, or that took too long.
        RemoteProtocolError: The answer is not understood.
    """
    try:
        packet = encode_packet(encode_order(words))
    except (MalformedPayload, InvalidWord) as exc:
        raise BadOrder(str(exc)) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONNECT_TIMEOUT)
        try:
            sock.connect(path)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise ConnectFailed(f"cannot connect to {path}: {reason}") from None
        try:
            with contextlib.suppress(BrokenPipeError):  # it reads no more: it may have said why
                sock.sendall(packet)
            return _receive(sock, None if timeout is None else time.monotonic() + timeout)
        except TimeoutError:
            raise ConnectionLost("the controller took too long to answer") from None
        except OSError as exc:
            raise ConnectionLost(f"the connection to the controller broke: {exc.strerror}") from None


def is_good(response: Response) -> bool:
    """Whether an answer says that the action has been carried out, and has not failed."""
    return response.type != "error" and response.status in (DONE, SUCCESS)


def sentence(response: Response) -> str:
    """Say an answer in plain words."""
    action = f"The action '{response.action}'"
    message = response.content.decode(errors="replace").strip()
    if response.type == "error":
        about = f" for action '{response.action}'" if response.action else ""
        number = status_number(response.status)
        known = "" if number is None else f" ({number})"
        text = f"ERROR: Received error response{about} with status '{response.status}'"
        return f"{text}: {message}" if message else f"{text}{known}."
    if response.status == DONE:
        return f"{action} is performed."
    if response.status == SUCCESS:
        return f"{action} is performed successfully."
    if response.status == BUSY:
        return f"WARNING: {action} could not be performed because the service is busy."
    return f"{action} failed with status '{response.status}'" + (f": {message}" if message else ".")


def socket_path(settings: Mapping[str, str], socket_or_directory: str = "", name: str = "") -> str:
    """Return the path of the controller's socket.

    Args:
        settings: What the settings file says.
        socket_or_directory: A socket, or the directory in which it is; wins over the settings.
        name: The name of the socket; wins over the settings.
    """
    known = {**_DEFAULTS, **settings}
    file = known["path_socket_prefix"] + (name or known["name_socket"]) + known["path_socket_suffix"]
    if socket_or_directory and not os.path.isdir(socket_or_directory):
        return socket_or_directory
    return os.path.join(socket_or_directory or known["path_socket"], file)


def read_settings(path: str) -> dict[str, str]:
    """Read a settings file (FSS-0001): the keys that this client knows.

    Args:
        path: The file; empty: the default one, which may be missing.

    Raises:
        ConfigError: It cannot be read, or a key has not one value.
    """
    try:
        with open(path or DEFAULT_SETTINGS, "rb") as file:
            text = file.read(_MAX_SETTINGS).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        if not path:
            return {}
        raise ConfigError(f"cannot read {path}: No such file or directory") from None
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"cannot read {path or DEFAULT_SETTINGS}: {reason}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        try:
            words = read_words(line)
        except InvalidWord as exc:
            raise ConfigError(f"{path or DEFAULT_SETTINGS}:{number}: {exc}") from None
        if words and words[0] in _DEFAULTS:
            if len(words) != 2:
                raise ConfigError(f"{path or DEFAULT_SETTINGS}:{number}: {words[0]} takes one word")
            found[words[0]] = words[1]
    return found


def _receive(sock: socket.socket, deadline: float | None) -> Response:
    try:
        head = _read(sock, HEAD_SIZE, deadline)
        return decode_response(_read(sock, decode_head(head) - HEAD_SIZE, deadline))
    except (MalformedPacket, MalformedPayload) as exc:
        raise RemoteProtocolError(f"the controller's answer is not understood: {exc}") from None


def _read(sock: socket.socket, size: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
        else:
            sock.settimeout(None)
        part = sock.recv(min(size - len(data), 65536))
        if not part:
            raise ConnectionLost("the controller closed the connection without a whole answer")
        data += part
    return bytes(data)
