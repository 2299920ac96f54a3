"""The commands of a daemon: an object that its author constructs and passes, never a global.

A registry only collects.  What a server routes by is the flat table that `resolve()` makes
of it when a socket is opened: included registries with their prefixes, the hooks that
surround each command, aliases, and the built-ins that no command of the author's replaces.
"""

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeAlias, get_args, get_origin, get_type_hints

from typing_extensions import TypeVar

from ctld.commands.context import Context
from ctld.commands.options import RESERVED, OptionSet, json_schema
from ctld.errors import RegistrationError
from ctld.peer import Role

__all__ = ["Command", "CommandRegistry", "Hook"]

A = TypeVar("A", default=Any)
P = ParamSpec("P")
R = TypeVar("R", bound=Coroutine[Any, Any, Any] | AsyncIterator[Any])

Hook: TypeAlias = Callable[[Context[Any]], AbstractAsyncContextManager[object]]
"""Entered around every run of a command."""

_ROLES: Final = get_args(Role)


@dataclass(frozen=True, eq=False)
class Command:
    """One command, as it was registered.

    Attributes:
        name: Its name on the wire.
        function: The author's function.
        role: The role that a caller needs.
        doc: Its documentation, for people.
        session: Whether it may take the connection for itself.
        endless: Whether its stream never ends by itself.
        many_answers: Whether it answers more than once without being a stream.
        on_disconnect: What happens to it when its client vanishes: `continue` or `cancel`.
        record: Whether the history records it; None: if it needs more than `observe`.
        aliases: Further names.
        since: The version of the daemon that brought it.
        deprecated: Why not to use it any more, and what instead.
        hooks: What is entered around each run, outermost first.
    """

    name: str
    function: Callable[..., Any]
    role: Role
    doc: str = ""
    session: bool = False
    endless: bool = False
    many_answers: bool = False
    on_disconnect: Literal["continue", "cancel"] = "continue"
    record: bool | None = None
    aliases: tuple[str, ...] = ()
    since: str = ""
    deprecated: str = ""
    hooks: tuple[Hook, ...] = ()
    namespace: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def streams(self) -> bool:
        """Whether it yields its result item by item."""
        return inspect.isasyncgenfunction(inspect.unwrap(self.function))

    @property
    def needs_listener(self) -> bool:
        """Whether it is of use only to a client that goes on listening: one answer is not its end."""
        return self.session or self.endless or self.many_answers

    @cached_property
    def options(self) -> OptionSet:
        """Its options, compiled from the signature."""
        parameters = _parameters(self)
        context = next(iter(inspect.signature(inspect.unwrap(self.function)).parameters.values()))
        named = "" if context.kind is context.POSITIONAL_ONLY else context.name
        try:
            return OptionSet(parameters, self._hints, session=self.session, context=named)
        except RegistrationError as exc:
            raise RegistrationError(f"command {self.name!r}: {exc}") from exc

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its options."""
        return self.options.schema

    @cached_property
    def result_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its result; of a stream, the list of its items."""
        result = self._hints.get("return", Any)
        if not self.streams:
            return json_schema(result)
        item = next(iter(get_args(result)), Any) if get_origin(result) is not None else Any
        schema = json_schema(item)
        definitions = schema.pop("$defs", None)
        return {"type": "array", "items": schema} | ({"$defs": definitions} if definitions else {})

    @cached_property
    def _hints(self) -> dict[str, Any]:
        """The annotations, resolved where the function was defined; the context's is not needed."""
        function = inspect.unwrap(self.function)
        context = next(iter(inspect.signature(function).parameters), "")
        wanted = {name: hint for name, hint in function.__annotations__.items() if name != context}
        try:
            return get_type_hints(
                SimpleNamespace(__annotations__=wanted),
                globalns=function.__globals__,
                localns=dict(self.namespace),
                include_extras=True,
            )
        except NameError as exc:
            raise RegistrationError(f"command {self.name!r}: an annotation cannot be resolved: {exc}") from exc


class CommandRegistry(Generic[A]):
    """A set of commands.

    Args:
        builtins: Which built-in commands come with it; None: all.  A command of the
            author's wins over a built-in of that name.
    """

    def __init__(self, *, builtins: Collection[str] | None = None) -> None:
        self.builtins = None if builtins is None else frozenset(builtins)
        self._commands: dict[str, Command] = {}
        self._names: set[str] = set()  # of them, with their aliases
        self._included: list[tuple[CommandRegistry[Any], str]] = []
        self._hooks: list[Hook] = []

    def command(
        self,
        name: str,
        *,
        role: Role,
        session: bool = False,
        endless: bool = False,
        many_answers: bool = False,
        on_disconnect: Literal["continue", "cancel"] = "continue",
        record: bool | None = None,
        aliases: Collection[str] = (),
        since: str = "",
        deprecated: str = "",
    ) -> Callable[[Callable[Concatenate[Context[A], P], R]], Callable[Concatenate[Context[A], P], R]]:
        """Register the decorated function, and return it unchanged.

        Args:
            name: The name on the wire; words are joined by `_`.
            role: The role that a caller needs.
            session: Whether the command may take the connection for itself.
            endless: Whether its stream never ends by itself; it must then be streamed, and
                ends when its client vanishes.
            many_answers: Whether it answers more than once, as `event_subscribe` does.
            on_disconnect: What happens to it when its client vanishes.
            record: Whether the history records it; None: if it needs more than `observe`.
            aliases: Further names for it.
            since: The version of the daemon that brought it.
            deprecated: Why not to use it any more, and what instead.

        Raises:
            RegistrationError: The name is taken or malformed, the function is not async, or
                declares an option that every command accepts.
        """
        namespace = sys._getframe(1).f_locals  # noqa: SLF001 - resolves annotations that name local types

        def register(function: Callable[Concatenate[Context[A], P], R]) -> Callable[Concatenate[Context[A], P], R]:
            command = Command(
                name=name,
                function=function,
                role=role,
                doc=inspect.getdoc(function) or "",
                session=session,
                endless=endless,
                many_answers=many_answers,
                on_disconnect="cancel" if endless else on_disconnect,
                record=record,
                aliases=tuple(aliases),
                since=since,
                deprecated=deprecated,
                namespace=namespace if _has_text_annotations(function) else {},
            )
            _check(command)
            for taken in (name, *command.aliases):
                if taken in self._names:
                    raise RegistrationError(f"command {taken!r} is already registered")
            self._names.update((name, *command.aliases))
            self._commands[name] = command
            return function

        return register

    def include(self, other: "CommandRegistry[Any]", *, prefix: str = "") -> None:
        """Offer the commands of another registry too, those registered later among them.

        Args:
            other: The registry; its `builtins` do not matter here.
            prefix: What their names begin with here.

        Raises:
            RegistrationError: It includes this one, or the prefix cannot begin a name.
        """
        if prefix and not _is_name(prefix):
            raise RegistrationError(f"{prefix!r} cannot be the beginning of a name")
        if self in other._tree():  # noqa: SLF001 - one of our own kind
            raise RegistrationError("a registry cannot include itself")
        self._included.append((other, prefix))

    def around(self, hook: Callable[[Context[A]], AbstractAsyncContextManager[object]], /) -> Hook:
        """Enter an async context manager around every run of every command here.

        Nested and launched runs are surrounded too; the hook is returned unchanged.
        """
        self._hooks.append(hook)
        return hook

    def resolve(self, builtins: "CommandRegistry[Any] | None" = None) -> dict[str, Command]:
        """Return what every name stands for, aliases included.

        Raises:
            RegistrationError: A name is taken twice, a built-in command that was asked for does
                not exist, or a signature cannot be compiled.
        """
        table: dict[str, Command] = {}
        for command in self:
            for name in (command.name, *command.aliases):
                if name in table:
                    raise RegistrationError(f"command {name!r} is registered twice")
                table[name] = command
        unknown = (
            set()
            if builtins is None or self.builtins is None
            else self.builtins - {command.name for command in builtins}
        )
        if unknown:
            raise RegistrationError(f"there is no built-in command {min(unknown)!r}")
        for command in builtins or ():
            if self.builtins is None or command.name in self.builtins:
                table.setdefault(command.name, replace(command, hooks=(*self._hooks, *command.hooks)))
        for command in table.values():
            _ = command.options, command.result_schema  # mistakes show at start, not at the first call
        return table

    def __iter__(self) -> Iterator[Command]:
        """Iterate over the commands, the included ones too, as they are called here."""
        for command in self._commands.values():
            yield replace(command, hooks=(*self._hooks, *command.hooks))
        for other, prefix in self._included:
            for command in other:
                yield replace(
                    command,
                    name=prefix + command.name,
                    aliases=tuple(prefix + alias for alias in command.aliases),
                    hooks=(*self._hooks, *command.hooks),
                )

    def _tree(self) -> "Iterator[CommandRegistry[Any]]":
        yield self
        for other, _ in self._included:
            yield from other._tree()  # noqa: SLF001 - one of our own kind


def _check(command: Command) -> None:
    """Refuse what could never run, where its author sees the line.

    Raises:
        RegistrationError: As said.
    """
    function = inspect.unwrap(command.function)
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if not is_async or not inspect.isroutine(function):  # of a `partial` nobody can resolve the annotations
        raise RegistrationError(f"command {command.name!r} must be an async function or an async generator")
    if command.role not in _ROLES:
        raise RegistrationError(f"command {command.name!r}: role must be one of {', '.join(_ROLES)}")
    for name in (command.name, *command.aliases):
        if not _is_name(name):
            raise RegistrationError(f"{name!r} cannot be the name of a command")
    if command.endless and not command.streams:
        raise RegistrationError(f"command {command.name!r} is endless, so it must be an async generator")
    for parameter in _parameters(command):
        if parameter.name in RESERVED:
            raise RegistrationError(
                f"command {command.name!r}: option {parameter.name!r} is reserved: every command accepts it already"
            )


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(char.isspace() for char in text)


def _parameters(command: Command) -> list[inspect.Parameter]:
    """Return the parameters after the context.

    Raises:
        RegistrationError: There is no context, or a parameter cannot be an option.
    """
    parameters = list(inspect.signature(inspect.unwrap(command.function)).parameters.values())
    context = parameters.pop(0) if parameters else None
    if context is None or context.kind not in (context.POSITIONAL_ONLY, context.POSITIONAL_OR_KEYWORD):
        raise RegistrationError(f"command {command.name!r} must take the context as its first parameter")
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise RegistrationError(f"command {command.name!r}: parameter {parameter.name!r} cannot be an option")
    return parameters


def _has_text_annotations(function: Callable[..., Any]) -> bool:
    annotations = getattr(inspect.unwrap(function), "__annotations__", {})
    return any(isinstance(hint, str) for hint in annotations.values())
