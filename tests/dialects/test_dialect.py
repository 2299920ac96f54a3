"""What a dialect is to the daemon, as an author of one sees it."""

import dataclasses
from collections.abc import Sequence

import pytest

from ctld.client_handler import ClientHandler
from ctld.dialects.dialect import Dialect, no_contradictions, no_mistakes, no_preparations
from ctld.endpoint import Listen


class SmokeListen(Listen, frozen=True, kw_only=True):
    """A `[[listen]]` table with a key of its own."""

    dialect: str = "smoke"
    colour: str = "white"


class SmokeSignals(ClientHandler):
    """A conversation in smoke."""

    dialect = "smoke"


def test_its_name_is_that_of_its_conversations():
    assert Dialect(SmokeListen, SmokeSignals).name == "smoke"


def test_it_finds_nothing_wrong_unless_it_says_how():
    assert Dialect(SmokeListen, SmokeSignals).mistakes is no_mistakes
    assert list(no_mistakes(SmokeListen(address="unix:/a"))) == []


def test_it_may_know_what_types_do_not():
    def mistakes(listen: SmokeListen) -> list[tuple[str, str]]:
        return [("colour", "nobody sees it")] if listen.colour == "clear" else []

    dialect = Dialect(SmokeListen, SmokeSignals, mistakes)
    assert dialect.mistakes(SmokeListen(address="unix:/a", colour="clear")) == [("colour", "nobody sees it")]
    assert dialect.mistakes(SmokeListen(address="unix:/a")) == []


def test_its_tables_stand_for_themselves_unless_it_says_otherwise():
    assert Dialect(SmokeListen, SmokeSignals).contradictions is no_contradictions
    assert list(no_contradictions([SmokeListen(address="unix:/a"), SmokeListen(address="unix:/a")])) == []

    def contradictions(listens: Sequence[SmokeListen]) -> list[tuple[int, str, str]]:
        return [(1, "colour", "one is enough")] if len(listens) > 1 else []

    dialect = Dialect(SmokeListen, SmokeSignals, contradictions=contradictions)
    assert dialect.contradictions([SmokeListen(address="unix:/a")]) == []
    assert dialect.contradictions([SmokeListen(address="unix:/a")] * 2) == [(1, "colour", "one is enough")]


def test_nothing_is_made_ready_unless_it_says_so():
    assert Dialect(SmokeListen, SmokeSignals).prepare is no_preparations
    no_preparations(SmokeListen(address="unix:/no/such/folder/a"))
    made: list[SmokeListen] = []
    dialect = Dialect(SmokeListen, SmokeSignals, prepare=made.append)
    dialect.prepare(SmokeListen(address="unix:/a"))
    assert made == [SmokeListen(address="unix:/a")]


def test_it_is_a_value():
    assert Dialect(SmokeListen, SmokeSignals) == Dialect(SmokeListen, SmokeSignals)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dialect(SmokeListen, SmokeSignals).listen = Listen  # type: ignore[misc]  # that is the point
