"""One request on its way: what reaches it, and when."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import ctld
from ctld.commands.operation import OperationTable
from ctld.exchange import Exchange
from ctld.wire.messages import Item, Progress


class Connection:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.congested = False
        self.gone = False
        self.waited = 0

    def send(self, message: Any, request_id: Any) -> None:
        self.sent.append((message, request_id))

    async def drained(self) -> None:
        self.waited += 1


def exchange_on(connection: Connection, handler: Any = None) -> Exchange:
    parties: Any = SimpleNamespace(connection=connection, handler=handler)
    return Exchange(parties, ctld.Request("x", {}, 7))


async def test_messages_carry_the_id_and_wait_for_a_slow_peer():
    connection = Connection()
    exchange = exchange_on(connection)
    assert exchange.send_progress(Progress("a")) is None
    connection.congested = True
    for drained in (exchange.send_progress(Progress("b")), exchange.send_item(Item(1))):
        assert drained is not None
        await drained
    assert connection.sent == [(Progress("a"), 7), (Progress("b"), 7), (Item(1), 7)]
    assert connection.waited == 2


async def test_an_interruption_before_the_operation_begins_reaches_it():
    exchange = exchange_on(Connection())
    reason = ctld.Cancelled("no more")
    exchange.interrupt(reason)
    exchange.interrupt(ctld.Cancelled("the first reason stands"))
    operation = OperationTable().start("x", ctld.Peer())
    exchange.begun(operation)
    assert operation.interruption is reason


async def test_an_interruption_of_a_running_operation_is_the_operation_s():
    exchange = exchange_on(Connection())
    operation = OperationTable().start("x", ctld.Peer())
    exchange.begun(operation)
    exchange.interrupt(ctld.DeadlineExceeded("late"))
    assert operation.interruption is not None
    assert exchange.interruption is None


@pytest.mark.parametrize("gone", [True, False])
async def test_an_attached_command_whose_client_left_before_it_began_is_cancelled(gone: bool):
    connection = Connection()
    connection.gone = gone
    exchange = exchange_on(connection)
    operation = OperationTable().start("x", ctld.Peer())
    operation.on_disconnect = "cancel"
    exchange.begun(operation)
    assert (operation.interruption is not None) is gone


@pytest.mark.parametrize("delivered", [True, False])
async def test_settle_takes_the_cancellation_back_delivered_or_not(delivered: bool):
    exchange = exchange_on(Connection())

    async def serve() -> str:
        exchange.task = asyncio.current_task()
        if delivered:
            asyncio.get_running_loop().call_soon(exchange.interrupt, ctld.Cancelled("x"))
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
        else:
            exchange.interrupt(ctld.Cancelled("x"))
        await exchange.settle()
        await exchange.settle()
        await asyncio.sleep(0)
        assert exchange.task is not None
        assert exchange.task.cancelling() == 0
        return "went on"

    assert await asyncio.get_running_loop().create_task(serve()) == "went on"


async def test_settle_lets_somebody_else_s_cancellation_through():
    exchange = exchange_on(Connection())

    async def serve() -> None:
        exchange.task = task = asyncio.current_task()
        exchange.interrupt(ctld.Cancelled("x"))
        assert task is not None
        task.cancel()
        await exchange.settle()

    task = asyncio.get_running_loop().create_task(serve())
    with pytest.raises(asyncio.CancelledError):
        await task


def test_become_and_version_are_the_handler_s():
    handler: Any = SimpleNamespace(peer=None, has_authorize=False, server_version=lambda: "3")
    exchange = exchange_on(Connection(), handler)
    exchange.become(ctld.Peer("alice"))
    assert handler.peer.name == "alice"
    assert exchange.server_version == "3"
    assert exchange.authorize is None
