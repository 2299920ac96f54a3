"""What a `control` program can ask for: thirteen actions, their words, and when they are to happen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from ctld.dialects.fss_control.payload import MalformedPayload, Payload, encode_payload, words_of
from ctld.dialects.fss_control.statuses import EMPTY, HEADER_NOT, VALID_NOT

__all__ = [
    "ACTIONS",
    "INIT_ACTIONS",
    "RULE_ACTIONS",
    "Condition",
    "Order",
    "delay_of",
    "encode_order",
    "moment_of",
    "parse_order",
    "read_order",
]

INIT_ACTIONS: Final[Mapping[str, str]] = {
    "kexec": "start another kernel",
    "reboot": "start the machine anew",
    "shutdown": "stop the controller",
}
"""Those that concern the machine, or the daemon, each with what it does; they go to `init`."""

RULE_ACTIONS: Final[Mapping[str, str]] = {
    "freeze": "suspend it, by the freezer of its cgroup where that is possible",
    "kill": "end it at once",
    "pause": "suspend it",
    "reload": "have it read its configuration again",
    "rerun": "run it once more; if it runs, stop it first",
    "restart": "stop it and start it again",
    "resume": "let it go on that is paused",
    "start": "start it",
    "stop": "stop it",
    "thaw": "let it go on that is frozen",
}
"""Those that concern a rule, each with what becomes of it."""

ACTIONS: Final = tuple(sorted((*INIT_ACTIONS, *RULE_ACTIONS)))
"""All actions."""

Condition: TypeAlias = Literal["now", "at", "in"]

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_CLOCK: Final = re.compile(r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)

# Whether words are understood does not depend on the time.
_ANY_TIME: Final = 1e9


@dataclass(frozen=True, slots=True)
class Order:
    """An action, on what, and when.

    Attributes:
        action: One of `ACTIONS`.
        directory: Of actions on a rule: the folder it is in.
        name: Of actions on a rule: its name.
        condition: When: `now`, `at` a time or `in` some time.
        words: What follows the condition.
    """

    action: str
    directory: str = ""
    name: str = ""
    condition: Condition = "now"
    words: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The rule as one name."""
        return f"{self.directory}/{self.name}"


def parse_order(words: Sequence[str]) -> Order:
    """Understand an action and its words.

    Raises:
        MalformedPayload: It is none, or the words are too few, too many or not understood.
    """
    action, *rest = words or ("",)
    if action not in ACTIONS:
        raise MalformedPayload(f"there is no action {action[:40]!r}: there are {', '.join(ACTIONS)}", HEADER_NOT)
    directory = name = ""
    if action not in INIT_ACTIONS:
        if len(rest) < 2:
            raise MalformedPayload(f"{action} needs a directory and a name", HEADER_NOT, action)
        directory, name, *rest = rest
        if not directory or not name:
            raise MalformedPayload("a directory and a name are not empty", EMPTY, action)
    elif not rest:
        raise MalformedPayload(f"{action} needs now, at or in", HEADER_NOT, action)
    condition, *arguments = rest or ("now",)
    wrong = _wrong_count(condition, len(arguments))
    if wrong:
        raise MalformedPayload(f"{action}: {wrong}", HEADER_NOT, action)
    order = Order(action, directory, name, condition, tuple(arguments))  # type: ignore[arg-type]  # counted above
    if condition == "in":
        delay_of(order)
    elif condition == "at":
        moment_of(order, _ANY_TIME)
    return order


def read_order(payload: Payload) -> Order:
    """Understand a request.

    Raises:
        MalformedPayload: It is none.
    """
    words = words_of(payload, "action")
    if not words:
        raise MalformedPayload("there is no action", HEADER_NOT)
    action = words[0] if words[0] in ACTIONS else ""
    kind = words_of(payload, "type")
    if kind is None or len(kind) != 1 or kind[0] not in ("controller", "init"):
        raise MalformedPayload("the type of a request is controller or init", HEADER_NOT, action)
    return parse_order(words)


def encode_order(words: Sequence[str]) -> bytes:
    """Return the payload of a request.

    Raises:
        MalformedPayload: The words are no order.
        InvalidWord: A word cannot be held by a line.
    """
    order = parse_order(words)
    kind = "init" if order.action in INIT_ACTIONS else "controller"
    return encode_payload([("type", kind), ("action", *words)])


def delay_of(order: Order) -> int:
    """Return the seconds of an order `in` some time.

    Raises:
        MalformedPayload: They are not understood.
    """
    seconds = 0
    for number, unit in zip(order.words[::2], order.words[1::2], strict=True):
        each = _SECONDS.get(unit.removesuffix("s"))
        if each is None:
            raise MalformedPayload("a unit is seconds, minutes, hours, days or weeks", VALID_NOT, order.action)
        if not _NUMBER.fullmatch(number):
            raise MalformedPayload("before a unit stands a number of at most nine digits", VALID_NOT, order.action)
        seconds += int(number) * each
    return seconds


def moment_of(order: Order, now: float) -> float:
    """Return when an order `at` a time is due, in seconds since 1970.

    A time of the day is the next one that the clocks on the wall will show.  Where they are
    put forward over it, it is as much later; where they are put back and show it
    twice, the first one that is still to come.

    Args:
        order: The order.
        now: The time, in seconds since 1970.

    Raises:
        MalformedPayload: It is not understood.
    """
    (text,) = order.words
    try:
        if found := _CLOCK.fullmatch(text):
            return _next(*(int(found[part] or 0) for part in ("hour", "minute", "second")), now=now)
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):  # the last two: a year that the C library has no seconds for
        raise MalformedPayload("a time is HH:MM, HH:MM:SS or as ISO 8601 says", VALID_NOT, order.action) from None


def _next(hour: int, minute: int, second: int, *, now: float) -> float:
    today = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=second, microsecond=0)
    # What `fold` means where the clocks skip the time comes before it, and is never meant.
    moments = [
        max(day.replace(fold=0).timestamp(), day.replace(fold=fold).timestamp())
        for day in (today, today + timedelta(days=1))
        for fold in (0, 1)
    ]
    return min(moment for moment in moments if moment > now)


def _wrong_count(condition: str, count: int) -> str:
    if condition == "now":
        return "now takes no words" if count else ""
    if condition == "at":
        return "" if count == 1 else "at takes one time"
    if condition == "in":
        return "" if count >= 2 and count % 2 == 0 else "in takes numbers, each with a unit"
    return "after the rule comes now, at or in"
