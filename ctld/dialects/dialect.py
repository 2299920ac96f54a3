"""What a dialect is to the daemon: a name, its keys in `[[listen]]`, and its conversations."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ctld.client_handler import ClientHandler
from ctld.endpoint import Listen

__all__ = ["Dialect", "no_contradictions", "no_mistakes", "no_preparations"]

L = TypeVar("L", bound=Listen)


def no_mistakes(listen: Listen) -> Iterable[tuple[str, str]]:
    """Find nothing wrong with the keys of a dialect: their types say it all."""
    return ()


def no_contradictions(listens: Sequence[Listen]) -> Iterable[tuple[int, str, str]]:
    """Find nothing wrong with several tables of a dialect: each stands for itself."""
    return ()


def no_preparations(listen: Listen) -> None:
    """Make nothing ready: the socket needs what every other one needs."""


@dataclass(frozen=True, slots=True)
class Dialect(Generic[L]):
    """One language that the daemon speaks.

    Attributes:
        listen: Its `[[listen]]` table: `Listen`, or a subclass with its own keys and defaults.  The
            default of `dialect` is its name.
        handler: The class of its conversations.  What is configured it finds as `self._site.listen`; commands
            it runs by name, through `super().handle_cmd()` or `self._site.dispatcher`.
        mistakes: Finds what is wrong with the keys as far as types cannot say it: the
            mistaken key, and what is wrong with its value.
        contradictions: Finds what is wrong with all tables of the dialect together: the number of the mistaken one
            among them, its key, and what is wrong with that.
        prepare: Makes ready what the socket needs, such as its folder, before the daemon listens; raises
            `ListenFailed` where that does not work.
    """

    listen: type[L]
    handler: type[ClientHandler[Any]]
    mistakes: Callable[[L], Iterable[tuple[str, str]]] = no_mistakes
    contradictions: Callable[[Sequence[L]], Iterable[tuple[int, str, str]]] = no_contradictions
    prepare: Callable[[L], None] = no_preparations

    @property
    def name(self) -> str:
        """What `dialect` in a `[[listen]]` table says; the audit log says so too."""
        return self.handler.dialect
