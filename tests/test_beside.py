"""Requests with an id, beside each other (N4)."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import ctld
from ctld.beside import Beside
from ctld.commands.operation import OperationTable
from ctld.exchange import Exchange
from tests.native import until


class Connection:
    def __init__(self) -> None:
        self.congested = False


class Whole:
    """A conversation that notes what it is told."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.welcome = True
        self.concluded: list[tuple[Any, Any]] = []
        self.fewer = 0

    @property
    def ready(self) -> bool:
        return self.welcome and not self.connection.congested

    def conclude(self, exchange: Exchange, outcome: Any) -> None:
        self.concluded.append((exchange.request.id, outcome))

    def on_fewer_beside(self) -> None:
        self.fewer += 1


class Answers:
    """A dispatcher whose commands end when they are told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started: list[str] = []

    async def run(self, peer: Any, name: str, options: Any, sink: Exchange, **how: Any) -> ctld.Reply:
        self.started.append(name)
        sink.begun(OperationTable().start(name, peer, task=asyncio.current_task()))
        await self.gate.wait()
        return ctld.Reply(name)


@pytest.fixture
async def whole() -> Whole:
    return Whole()


@pytest.fixture
async def answers() -> Answers:
    return Answers()


def request(whole: Whole, cmd: str, request_id: int) -> Exchange:
    handler: Any = SimpleNamespace(peer=ctld.Peer(), has_handle_cmd=False, has_authorize=False)
    parties: Any = SimpleNamespace(connection=whole.connection, handler=handler)
    return Exchange(parties, ctld.Request(cmd, {}, request_id))


def beside(whole: Whole, answers: Answers, most: int = 8) -> Beside:
    dispatcher: Any = answers
    return Beside(whole, dispatcher, most)


async def test_they_run_at_once_and_end_in_any_order(whole: Whole, answers: Answers) -> None:
    requests = beside(whole, answers)
    for number in range(3):
        requests.serve(request(whole, f"c{number}", number))
    await until(lambda: len(answers.started) == 3)
    assert requests.outstanding
    assert [exchange.request.id for exchange in requests.in_flight] == [0, 1, 2]
    answers.gate.set()
    await until(lambda: len(whole.concluded) == 3)
    assert sorted(whole.concluded) == [(number, ctld.Reply(f"c{number}")) for number in range(3)]
    assert whole.fewer == 3
    assert not requests.outstanding


async def test_n4_an_id_in_use_and_one_too_many_are_refused_at_once(whole: Whole, answers: Answers) -> None:
    requests = beside(whole, answers, most=2)
    requests.serve(request(whole, "a", 1))
    requests.serve(request(whole, "b", 1))
    requests.serve(request(whole, "c", 2))
    requests.serve(request(whole, "d", 3))
    assert [(number, outcome.code) for number, outcome in whole.concluded] == [(1, "bad-request"), (3, "busy")]
    answers.gate.set()
    await until(lambda: not requests.outstanding)


async def test_before_the_welcome_nothing_begins(whole: Whole, answers: Answers) -> None:
    whole.welcome = False
    requests = beside(whole, answers)
    requests.serve(request(whole, "a", 1))
    await asyncio.sleep(0)
    assert answers.started == []
    requests.wait_no_longer()
    await until(lambda: answers.started == ["a"])
    answers.gate.set()
    await until(lambda: not requests.outstanding)


async def test_a_client_that_reads_nothing_is_told_later(whole: Whole, answers: Answers) -> None:
    whole.connection.congested = True
    requests = beside(whole, answers)
    requests.serve(request(whole, "a", 1))
    requests.serve(request(whole, "b", 1))
    await asyncio.sleep(0)
    assert (answers.started, whole.concluded) == ([], [])
    assert requests.outstanding
    whole.connection.congested = False
    requests.wait_no_longer()
    assert [number for number, _ in whole.concluded] == [1]
    answers.gate.set()
    await until(lambda: not requests.outstanding)
    assert [number for number, _ in whole.concluded] == [1, 1]


async def test_n1_the_banner_comes_first_even_before_a_refusal(whole: Whole, answers: Answers) -> None:
    whole.welcome = False
    requests = beside(whole, answers, most=1)
    requests.serve(request(whole, "a", 1))
    requests.serve(request(whole, "b", 2))
    assert whole.concluded == []
    whole.welcome = True
    requests.wait_no_longer()
    assert [number for number, _ in whole.concluded] == [2]
    answers.gate.set()
    await until(lambda: not requests.outstanding)


async def test_what_waits_is_told_and_begun_only_once(whole: Whole, answers: Answers) -> None:
    whole.connection.congested = True
    requests = beside(whole, answers)
    requests.refuse(request(whole, "a", 1), ctld.Failure("no", "busy"))
    requests.serve(request(whole, "b", 2))
    requests.wait_no_longer()
    requests.wait_no_longer()
    answers.gate.set()
    await until(lambda: len(whole.concluded) == 2)
    assert whole.concluded == [(1, ctld.Failure("no", "busy")), (2, ctld.Reply("b"))]
    assert answers.started == ["b"]


async def test_n4_what_is_cancelled_before_it_begins_is_answered_so(whole: Whole, answers: Answers) -> None:
    whole.welcome = False
    requests = beside(whole, answers)
    requests.serve(request(whole, "a", 1))
    requests.cancel(2, ctld.Cancelled("another one"))
    requests.cancel(1, ctld.Cancelled("no more"))
    await until(lambda: len(whole.concluded) == 1)
    assert whole.concluded[0][1].code == "cancelled"
    assert answers.started == []


async def test_what_was_given_up_is_not_answered_again(whole: Whole, answers: Answers) -> None:
    requests = beside(whole, answers)
    exchange = request(whole, "a", 1)
    requests.serve(exchange)
    await until(lambda: answers.started == ["a"])
    requests.give_up()
    assert exchange.carrier is not None
    exchange.carrier.cancel()
    await asyncio.wait([exchange.carrier])
    assert exchange.carrier.cancelled()
    assert (whole.concluded, whole.fewer) == ([], 0)


async def test_a_command_that_cancels_its_own_task_is_answered(whole: Whole, answers: Answers) -> None:
    requests = beside(whole, answers)
    exchange = request(whole, "a", 1)
    requests.serve(exchange)
    await until(lambda: answers.started == ["a"])
    assert exchange.carrier is not None
    exchange.carrier.cancel()
    await until(lambda: len(whole.concluded) == 1)
    assert whole.concluded[0][1].code == "cancelled"


async def test_n2_what_is_given_up_without_having_begun_never_begins_and_a_refusal_is_told(
    whole: Whole, answers: Answers
) -> None:
    whole.welcome = False
    requests = beside(whole, answers)
    requests.serve(request(whole, "a", 1))
    requests.refuse(request(whole, "b", 2), ctld.Failure("no", "busy"))
    requests.give_up()
    requests.wait_no_longer()
    assert whole.concluded == [(2, ctld.Failure("no", "busy"))]
    assert not requests.outstanding
    await asyncio.sleep(0)
    assert answers.started == []


async def test_a_command_that_ends_well_after_it_was_given_up_is_not_answered_again(
    whole: Whole, answers: Answers
) -> None:
    requests = beside(whole, answers)
    exchange = request(whole, "a", 1)
    requests.serve(exchange)
    await until(lambda: answers.started == ["a"])
    requests.give_up()
    answers.gate.set()
    assert exchange.carrier is not None
    await asyncio.wait([exchange.carrier])
    assert exchange.carrier.exception() is None
    assert (whole.concluded, whole.fewer) == ([], 0)


async def test_n4_a_cancel_strikes_what_runs(whole: Whole, answers: Answers) -> None:
    requests = beside(whole, answers)
    exchange = request(whole, "a", 1)
    requests.serve(exchange)
    await until(lambda: answers.started == ["a"])
    requests.cancel(1, ctld.Cancelled("no more"))
    await until(lambda: len(whole.concluded) == 1)
    assert whole.concluded[0][1].code == "cancelled"
    assert not requests.outstanding
