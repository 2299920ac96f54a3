"""What a `control` program can ask for: thirteen actions, their words, and when they are to happen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from ctld.dialects.fss_control.payload import MalformedPayload, Payload, encode_payload, words_of
from ctld.dialects.fss_control.statuses import EMPTY, HEADER_NOT, VALID_NOT

__all__ = ["ACTIONS", "INIT_ACTIONS", "Condition", "Order", "due", "encode_order", "parse_order", "read_order"]

INIT_ACTIONS: Final = ("kexec", "reboot", "shutdown")
"""Those that concern the machine, or the daemon; they go to `init`."""

_RULE_ACTIONS: Final = (
    "freeze", "kill", "pause", "reload", "rerun", "restart", "resume", "start", "stop", "thaw",
)  # fmt: skip

ACTIONS: Final = tuple(sorted((*INIT_ACTIONS, *_RULE_ACTIONS)))
"""All actions."""

Condition: TypeAlias = Literal["now", "at", "in"]

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_CLOCK: Final = re.compile(r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)

# Ten years: who plans further ahead has mistyped a number.
_FARTHEST: Final = timedelta(days=3660)


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
        raise MalformedPayload(f"there is no action {action[:40]!r}", HEADER_NOT)
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
    due(order, datetime(2000, 1, 1))  # any time shows whether the words are understood
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


def due(order: Order, now: datetime) -> datetime | None:
    """Return when an order is to be carried out; None: at once.

    Args:
        order: The order.
        now: The local time; with its zone, if the result shall have one.

    Raises:
        MalformedPayload: Its time is not understood, or too far away.
    """
    if order.condition == "now":
        return None
    if order.condition == "in":
        return now + _duration(order)
    return _moment(order, now)


def _wrong_count(condition: str, count: int) -> str:
    if condition == "now":
        return "now takes no words" if count else ""
    if condition == "at":
        return "" if count == 1 else "at takes one time"
    if condition == "in":
        return "" if count >= 2 and count % 2 == 0 else "in takes numbers, each with a unit"
    return "after the rule comes now, at or in"


def _duration(order: Order) -> timedelta:
    seconds = 0
    for number, unit in zip(order.words[::2], order.words[1::2], strict=True):
        each = _SECONDS.get(unit.removesuffix("s"))
        if each is None:
            raise MalformedPayload("a unit is seconds, minutes, hours, days or weeks", VALID_NOT, order.action)
        if not _NUMBER.fullmatch(number):
            raise MalformedPayload("before a unit stands a number of at most nine digits", VALID_NOT, order.action)
        seconds += int(number) * each
    if seconds > _FARTHEST.total_seconds():
        raise MalformedPayload("that is more than ten years ahead", VALID_NOT, order.action)
    return timedelta(seconds=seconds)


def _moment(order: Order, now: datetime) -> datetime:
    (text,) = order.words
    try:
        if found := _CLOCK.fullmatch(text):
            hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
            today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return today if today > now else today + timedelta(days=1)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=now.tzinfo)
        return moment if now.tzinfo else moment.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise MalformedPayload("a time is HH:MM, HH:MM:SS or as ISO 8601 says", VALID_NOT, order.action) from None
