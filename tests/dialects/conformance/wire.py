"""What a driver of the matrix can do: send an order, or nonsense, and read what comes back.

The drivers write and read bytes by themselves and use nothing of the dialects' own code, so that a
mistake in that is not made twice.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Answer:
    """What a client is told.

    Attributes:
        word: How it went, in the words of the wire.
        message: The sentence for people.
        progress: How many messages came before.
    """

    word: str
    message: str = ""
    progress: int = 0


class Wire(ABC):
    """One connection, for one order."""

    name: ClassVar[str]
    waits: ClassVar[bool] = True
    authenticates: ClassVar[bool] = True

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @abstractmethod
    def send(self, action: str, job: str) -> None:
        """Ask for an action (`start`, `stop`, or one that there is not) on a job."""

    @abstractmethod
    def send_nonsense(self) -> None:
        """Send what is no request, so that the daemon can tell."""

    @abstractmethod
    async def receive(self) -> Answer:
        """Read the answer."""

    async def ask(self, action: str, job: str) -> Answer:
        self.send(action, job)
        return await self.receive()

    async def hang_up(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
