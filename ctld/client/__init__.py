"""Both clients: `Client` blocks and is light, `AsyncClient` has many calls in flight.

The names are resolved at first use, so that the blocking one loads no asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from ctld.client.asynchronous import AsyncClient
    from ctld.client.blocking import Client
    from ctld.client.call import Call, ItemStream
    from ctld.client.tls import tls_context
    from ctld.client.wire import Update

__all__ = ["AsyncClient", "Call", "Client", "ItemStream", "Update", "tls_context"]

_HOMES = {
    "AsyncClient": "ctld.client.asynchronous",
    "Call": "ctld.client.call",
    "Client": "ctld.client.blocking",
    "ItemStream": "ctld.client.call",
    "Update": "ctld.client.wire",
    "tls_context": "ctld.client.tls",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
