"""ctld: a framework for local control daemons.  One command set, many wires.

The names here are the public API.  They are imported when they are first used, so that
`import ctld.client` loads none of the server.
"""

from __future__ import annotations

from ctld.version import VERSION as __version__

TYPE_CHECKING = False  # typing costs milliseconds, and this runs at every call of ctlctl
if TYPE_CHECKING:
    from typing import Any

    from ctld.client.asynchronous import AsyncClient
    from ctld.client.blocking import Client
    from ctld.client.call import Call
    from ctld.client.session import ClientSession
    from ctld.client_handler import ClientHandler
    from ctld.commands.context import Context
    from ctld.commands.operation import Operation
    from ctld.commands.options import Option
    from ctld.commands.registry import Command, CommandRegistry
    from ctld.config import load_config
    from ctld.endpoint import Listen
    from ctld.errors import (
        BadRequest,
        BadSyntax,
        Busy,
        Cancelled,
        CommandFailed,
        ConfigError,
        ConnectFailed,
        ConnectionFailed,
        ConnectionLost,
        CtldError,
        DeadlineExceeded,
        Deadlock,
        Denied,
        InternalError,
        InvalidOptions,
        ListenFailed,
        Locked,
        NotFound,
        ProtocolError,
        RegistrationError,
        ShuttingDown,
        TooLarge,
        UnknownCommand,
    )
    from ctld.events import Event, EventBus
    from ctld.limits import Limits
    from ctld.listener import Listener
    from ctld.locks import Lockable, Manipulable
    from ctld.peer import Peer, Role
    from ctld.runner import run
    from ctld.secret import Secret
    from ctld.server import Server
    from ctld.sessions.raw import Hijack
    from ctld.sessions.session import Session
    from ctld.wire.messages import Failure, Progress, Reply, Request

__all__ = [
    "AsyncClient",
    "BadRequest",
    "BadSyntax",
    "Busy",
    "Call",
    "Cancelled",
    "Client",
    "ClientHandler",
    "ClientSession",
    "Command",
    "CommandFailed",
    "CommandRegistry",
    "ConfigError",
    "ConnectFailed",
    "ConnectionFailed",
    "ConnectionLost",
    "Context",
    "CtldError",
    "DeadlineExceeded",
    "Deadlock",
    "Denied",
    "Event",
    "EventBus",
    "Failure",
    "Hijack",
    "InternalError",
    "InvalidOptions",
    "Limits",
    "Listen",
    "ListenFailed",
    "Listener",
    "Lockable",
    "Locked",
    "Manipulable",
    "NotFound",
    "Operation",
    "Option",
    "Peer",
    "Progress",
    "ProtocolError",
    "RegistrationError",
    "Reply",
    "Request",
    "Role",
    "Secret",
    "Server",
    "Session",
    "ShuttingDown",
    "TooLarge",
    "UnknownCommand",
    "__version__",
    "load_config",
    "run",
]

_MODULES = {
    "ctld.client.asynchronous": ("AsyncClient",),
    "ctld.client.blocking": ("Client",),
    "ctld.client.call": ("Call",),
    "ctld.client.session": ("ClientSession",),
    "ctld.client_handler": ("ClientHandler",),
    "ctld.commands.context": ("Context",),
    "ctld.commands.operation": ("Operation",),
    "ctld.commands.options": ("Option",),
    "ctld.commands.registry": ("Command", "CommandRegistry"),
    "ctld.config": ("load_config",),
    "ctld.endpoint": ("Listen",),
    "ctld.errors": (
        "BadRequest",
        "BadSyntax",
        "Busy",
        "Cancelled",
        "CommandFailed",
        "ConfigError",
        "ConnectFailed",
        "ConnectionFailed",
        "ConnectionLost",
        "CtldError",
        "DeadlineExceeded",
        "Deadlock",
        "Denied",
        "InternalError",
        "InvalidOptions",
        "ListenFailed",
        "Locked",
        "NotFound",
        "ProtocolError",
        "RegistrationError",
        "ShuttingDown",
        "TooLarge",
        "UnknownCommand",
    ),
    "ctld.events": ("Event", "EventBus"),
    "ctld.limits": ("Limits",),
    "ctld.listener": ("Listener",),
    "ctld.locks": ("Lockable", "Manipulable"),
    "ctld.peer": ("Peer", "Role"),
    "ctld.runner": ("run",),
    "ctld.secret": ("Secret",),
    "ctld.server": ("Server",),
    "ctld.sessions.raw": ("Hijack",),
    "ctld.sessions.session": ("Session",),
    "ctld.wire.messages": ("Failure", "Progress", "Reply", "Request"),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'ctld' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
