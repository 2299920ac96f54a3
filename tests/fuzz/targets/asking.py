"""What is asked of commands: options, filters of events, questions to the history."""

import inspect
import json
import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from ctld.commands.options import OptionSet
from ctld.errors import BadSyntax, InvalidOptions
from ctld.event_filter import MAX_TERMS, EventFilter
from ctld.history_entry import MAX_LIMIT, Entry, HistoryQuery
from ctld.history_store import HistoryBounds, HistoryStore
from ctld.secret import BLANK, Secret, redact, redact_text, secret_values
from ctld.sessions.options import session_options
from tests.fuzz.targets.target import Target

__all__ = ["TARGETS"]


class Disk(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0


def _example(
    name: str,
    mode: Literal["fast", "slow"] = "fast",
    disks: list[Disk] = [],  # noqa: B006 - a signature to compile, never called
    labels: dict[str, int] | None = None,
    path: Path = Path("/"),
    data: bytes = b"",
    *,
    ratio: float = 0.5,
) -> None: ...


def _option_set() -> OptionSet:
    parameters = list(inspect.signature(_example).parameters.values())
    return OptionSet(parameters, {p.name: p.annotation for p in parameters}, session=True)


_OPTIONS: Final = _option_set()


def fuzz_options(data: bytes) -> None:
    """Options are typed values, or refused with their path in one line."""
    refusal = None
    try:
        decoded = _OPTIONS.decode(msgspec.Raw(data))
    except BadSyntax:
        return
    except InvalidOptions as exc:
        refusal = exc
    if refusal is not None:
        assert str(refusal.fields["path"]).startswith("$")
        assert refusal.message.isprintable()
        return
    assert type(decoded.values.name) is str
    assert decoded.values.mode in ("fast", "slow")
    assert all(disk.size >= 0 for disk in decoded.values.disks)


class Login(msgspec.Struct):
    user: str
    password: Secret


def _secretive(
    name: str, token: Secret, login: Login, keys: dict[str, Secret], many: list[Secret], either: Secret | None = None
) -> None: ...


def _schema() -> dict[str, Any]:
    parameters = list(inspect.signature(_secretive).parameters.values())
    return OptionSet(parameters, {p.name: p.annotation for p in parameters}).schema


_SECRETIVE: Final = _schema()


def fuzz_secrets(data: bytes) -> None:
    """Whatever stands where a secret belongs is blanked, valid or not, and its text found nowhere else."""
    options = _object(data)
    if options is None:
        return
    blanked = redact(_SECRETIVE, options)
    assert blanked.keys() == options.keys()
    for key, value in blanked.items():
        if key == "name":
            assert repr(value) == repr(options[key])
        elif key == "login" and isinstance(value, dict):
            assert all(one in (BLANK, None) for inner, one in value.items() if inner != "user")
        elif isinstance(value, dict | list):
            assert key in ("keys", "many")
            assert all(one in (BLANK, None) for one in (value.values() if isinstance(value, dict) else value))
        else:
            assert value in (BLANK, None)
    texts = [text for text in secret_values(_SECRETIVE, options) if text not in BLANK]
    told = redact_text(json.dumps(options, ensure_ascii=False), texts)
    for text in texts:
        if BLANK[0] not in text:
            assert text not in told


def _object(data: bytes) -> dict[str, Any] | None:
    """Return options as a command without a declaration gets them."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def fuzz_session_options(data: bytes) -> None:
    """What a client wants of a session is typed, or refused by the option's name."""
    member = _object(data)
    if member is None:
        return
    try:
        found = session_options(member, {})
    except InvalidOptions as error:
        assert str(error.fields["path"]).startswith("$.session")
        return
    assert 1 <= found.rows <= 0xFFFF
    assert 1 <= found.cols <= 0xFFFF
    assert session_options(None, member) == found == session_options(member, member)


def fuzz_event_filter(data: bytes) -> None:
    """A filter wants what a plain comparison of its values wants, and never raises into who publishes."""
    options = _object(data)
    if options is None:
        return
    types = options.pop("types", [])
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        types = []
    event = options.pop("event", {})
    if not isinstance(event, dict):
        event = {}
    try:
        wanted = EventFilter.of(types, options)
    except InvalidOptions:
        values = [one for value in options.values() for one in (value if isinstance(value, list) else [value])]
        assert len(types) + len(values) > MAX_TERMS or any(isinstance(one, dict | list) for one in values)
        return
    plain = all(
        key in event and any(_same(event[key], one) for one in (value if isinstance(value, list) else [value]))
        for key, value in options.items()
    )
    assert wanted.wants(event) == plain
    assert wanted.matches("x", event) == (plain and (not types or "x" in types))
    assert wanted.selective == bool(types or options)


def _same(value: object, other: object) -> bool:
    """Whether JSON has the same there."""
    if isinstance(value, dict | list) or isinstance(value, bool) != isinstance(other, bool):
        return False
    return value == other


_PEOPLE = (None, 0, 1000)
_OUTCOMES = ("done", "failed", "cancelled", "denied")
_ENTRIES: Final = [
    Entry(
        time=float(number // 3),
        command=("ping", "job_start", "x")[number % 3],
        outcome=_OUTCOMES[number % 4],
        uid=_PEOPLE[number % 3],
    )
    for number in range(40)
]


def _store() -> HistoryStore:
    store = HistoryStore(None, HistoryBounds())
    store.append(_ENTRIES)
    return store


_STORE: Final = _store()


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    """What `history_list` declares."""

    since: float | None = None
    cmd: str | None = None
    uid: int | None = None
    failed: bool | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = 100
    before: int | None = None


def fuzz_history(data: bytes) -> None:
    """A question gets what a plain search gets, page by page; and any text can be kept and is harmless."""
    try:
        asked = msgspec.json.decode(data, type=_Question)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        _keep(data)
        return
    query = HistoryQuery(**msgspec.structs.asdict(asked))
    entries = [msgspec.structs.replace(entry, id=number) for number, entry in enumerate(_ENTRIES, 1)]
    expected = [entry for entry in reversed(entries) if _fits(entry, query)]
    assert _STORE.query(query) == expected[: query.limit]
    paged: list[Entry] = []
    before = query.before
    while True:
        page = _STORE.query(msgspec.structs.replace(query, before=before, limit=min(query.limit, 7)))
        if not page:
            break
        paged += page
        before = page[-1].id
    assert paged == expected


def _fits(entry: Entry, query: HistoryQuery) -> bool:
    since = query.since if query.since is not None and math.isfinite(query.since) else query.since and 0.0
    return (
        (since is None or entry.time >= since)
        and (query.cmd is None or entry.command == query.cmd)
        and (query.uid is None or entry.uid == query.uid)
        and (query.before is None or entry.id < query.before)
        and (query.failed is None or (entry.outcome != "done") == query.failed)
    )


def _keep(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    store = HistoryStore(None, HistoryBounds())
    number = int.from_bytes(data[:9], "big", signed=True)
    store.append(
        [Entry(time=number / 3, command=text, options=json.dumps(text), outcome="done", message=text, uid=number)]
    )
    (entry,) = store.query(HistoryQuery())
    store.close()
    for kept in (entry.command, entry.message):
        kept.encode()
        assert not any(letter < " " or "\x7f" <= letter < "\xa0" for letter in kept)
    if text.isprintable():
        assert entry.command == text


TARGETS = (
    Target("secrets", fuzz_secrets),
    Target("options", fuzz_options),
    Target("session_options", fuzz_session_options),
    Target("event_filter", fuzz_event_filter),
    Target("history", fuzz_history),
)
