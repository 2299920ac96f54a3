"""What the tests of locks share: operations and things, made of nothing."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, TypeVar

from ctld.locks import Lockable, LockRegistry, Manipulable, current_locks
from ctld.ownership import current_owner
from ctld.peer import Peer

T = TypeVar("T")

_ids = count(1)


@dataclass
class Operation:
    """An owner: just the attributes that `ctld.ownership.Owner` asks for."""

    command: str
    peer: Peer = field(default_factory=lambda: Peer(name="alice", role="operate", uid=1000))
    id: str = field(default_factory=lambda: f"op{next(_ids)}")
    started: float = field(default_factory=monotonic)
    finished: bool = False
    cli: str = ""

    @property
    def holder(self) -> str:
        return f"'{self.cli}'" if self.cli else self.command


class Thing(Lockable, Manipulable):
    def __init__(self, name: str, kind: str = "container") -> None:
        self.name = name
        self.kind = kind

    def lock_resource(self) -> tuple[str, str]:
        return (self.kind, self.name)


@contextmanager
def acting(locks: LockRegistry, owner: Operation | None) -> Iterator[None]:
    """What a dispatcher does around a command."""
    locks_before, owner_before = current_locks.set(locks), current_owner.set(owner)
    try:
        yield
    finally:
        current_locks.reset(locks_before)
        current_owner.reset(owner_before)


def run_as(locks: LockRegistry, owner: Operation | None, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that acts for an owner."""
    context = copy_context()
    context.run(current_locks.set, locks)
    context.run(current_owner.set, owner)
    return asyncio.create_task(coro, context=context)


async def settle() -> None:
    """Let everything happen that can: no lock needs more turns of the loop than these."""
    for _ in range(6):
        await asyncio.sleep(0)


def assert_no_trace(locks: LockRegistry) -> None:
    """Nobody holds or waits: then the registry remembers nothing."""
    assert locks.snapshot() == []
    assert not locks._graph.locks
    assert not list(locks._graph.owners())
