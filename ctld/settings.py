"""What the reference daemon can be told in its TOML file."""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from ctld.config import TomlDocument
from ctld.config_errors import Mistake
from ctld.dialects.table import DEFAULT_DIALECT, DIALECTS
from ctld.endpoint import Listen
from ctld.errors import ConfigError
from ctld.gatherer.profile import GathererSettings
from ctld.history_store import MAX_AGE, MAX_BYTES, MAX_ROWS, HistoryBounds
from ctld.jobs.settings import JobSettings
from ctld.limits import Limits
from ctld.listeners import mistakes_in
from ctld.log import LogFormat, LogLevel
from ctld.peer import Role
from ctld.policy import Policy

__all__ = [
    "DaemonSettings",
    "EventSettings",
    "HistorySettings",
    "Places",
    "RoleSettings",
    "Settings",
    "load_settings",
    "places",
]


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[daemon]` table.

    Attributes:
        runtime_dir: Where sockets live; made if it is missing.  Empty: `/run/ctld` for root,
            else `ctld` below `XDG_RUNTIME_DIR`.
        state_dir: Where things live that outlast the daemon; nobody else may write there.  Empty:
            `STATE_DIRECTORY`, which systemd sets, else `/var/lib/ctld` beside root's `/run/ctld`,
            else `state` below the runtime directory.
        log_level: The least severe messages that are logged.
        log_format: Lines for people, or one JSON object per line.
    """

    runtime_dir: str = ""
    state_dir: str = ""
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"


class RoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[roles]` table: for each role, the callers who have it, as `ctld.policy` names them.

    Attributes:
        anyone: Callers who may do no more than strangers.
        observe: Callers who may look.
        operate: Callers who may also act.
        admin: Callers who may do everything.
    """

    anyone: tuple[str, ...] = ()
    observe: tuple[str, ...] = ()
    operate: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()

    def mapping(self) -> Mapping[Role, Collection[str]]:
        """Return them as the policy takes them."""
        return {"anyone": self.anyone, "observe": self.observe, "operate": self.operate, "admin": self.admin}


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[history]` table: what the audit log keeps; the oldest entries go first.

    Attributes:
        max_age: Seconds for which an entry is kept.
        max_bytes: How large its file may grow, apart from a few MiB of its write-ahead log.
        max_rows: How many entries are kept.
        record_all: Whether it also has commands of the roles `anyone` and `observe`.
    """

    max_age: Annotated[float, msgspec.Meta(gt=0)] = MAX_AGE
    max_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = MAX_BYTES
    max_rows: Annotated[int, msgspec.Meta(ge=1)] = MAX_ROWS
    record_all: bool = False

    def bounds(self) -> HistoryBounds:
        """Return them as the history takes them."""
        return HistoryBounds(self.max_age, self.max_bytes, self.max_rows)


class EventSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[events]` table: what is told of commands.

    Attributes:
        publish_all: Whether there are `management` events about commands of the roles
            `anyone` and `observe`, too.
    """

    publish_all: bool = False


class _Tables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables of the file whose types are known beforehand.

    Attributes:
        daemon: Where it lives, and what it logs.
        limits: The bounds on what callers can make it hold.
        roles: Who may do what.
        history: What the audit log keeps.
        events: What is told of commands.
        gatherer: The workers that read files and run commands for whoever may not.
        jobs: The programs that it keeps running.
    """

    daemon: DaemonSettings = DaemonSettings()
    limits: Limits = Limits()
    roles: RoleSettings = RoleSettings()
    history: HistorySettings = HistorySettings()
    events: EventSettings = EventSettings()
    gatherer: GathererSettings = GathererSettings()
    jobs: JobSettings = JobSettings()


class Settings(_Tables, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        listen: Where it listens, and in which dialect; with none, on `ctld.sock` in the runtime directory.
    """

    listen: tuple[Listen, ...] = ()


class _File(_Tables, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file, while it is not known yet which keys each `[[listen]]` has: its dialect says that."""

    listen: tuple[dict[str, Any], ...] = ()


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Read the daemon's configuration, and check what a type cannot express.

    Raises:
        ConfigError: It cannot be used; the message names the file, the line and the key.
    """
    document = TomlDocument.read(path)
    file = document.convert(_File)
    listen = tuple(_listen(document, index, table) for index, table in enumerate(file.listen))
    settings = Settings(**{name: getattr(file, name) for name in _Tables.__struct_fields__}, listen=listen)
    for mistake in _mistakes(settings):
        raise document.error(mistake)
    return settings


def _listen(document: TomlDocument, index: int, table: Mapping[str, Any]) -> Listen:
    """Read a `[[listen]]` table with the keys of its dialect.

    Raises:
        ConfigError: It cannot be used.
    """
    place = ("listen", index)
    name = table.get("dialect", DEFAULT_DIALECT)
    if not isinstance(name, str):
        document.convert(Listen, place)  # which says better what else it is
    if name not in DIALECTS:
        reason = f"{name!r} is no dialect; there are {', '.join(DIALECTS)}"
        raise document.error(Mistake((*place, "dialect"), reason))
    listen: Listen = document.convert(DIALECTS[name].listen, place)
    return listen


def _mistakes(settings: Settings) -> Iterator[Mistake]:
    try:
        Policy(settings.roles.mapping())
    except ConfigError:
        yield from _mistaken_roles(settings.roles)
    for index, listen in enumerate(settings.listen):
        for key, reason in (*mistakes_in(listen), *DIALECTS[listen.dialect].mistakes(listen)):
            yield Mistake(("listen", index, key), reason)
    for dialect in DIALECTS.values():
        indices = [index for index, listen in enumerate(settings.listen) if listen.dialect == dialect.name]
        for number, key, reason in dialect.contradictions([settings.listen[index] for index in indices]):
            yield Mistake(("listen", indices[number], key), reason)


def _mistaken_roles(settings: RoleSettings) -> Iterator[Mistake]:
    """Find the principal with which the policy breaks: a wrong one, or one that stands elsewhere too."""
    so_far: dict[Role, list[str]] = {}
    for role, principals in settings.mapping().items():
        for index, principal in enumerate(principals):
            so_far.setdefault(role, []).append(principal)
            try:
                Policy(so_far)
            except ConfigError as exc:
                yield Mistake(("roles", role, index), str(exc).removeprefix("roles: "))
                return


class Places(NamedTuple):
    """The directories of a daemon."""

    runtime_dir: str
    state_dir: str


def places(settings: DaemonSettings, environ: Mapping[str, str], uid: int) -> Places:
    """Decide where the daemon lives.

    Raises:
        ConfigError: Nothing says where.
    """
    # systemd separates several with colons; the first is the unit's own.
    state_dir = settings.state_dir or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if settings.runtime_dir:
        runtime_dir = settings.runtime_dir
    elif uid == 0:
        runtime_dir = "/run/ctld"
        state_dir = state_dir or "/var/lib/ctld"
    else:
        user_dir = environ.get("XDG_RUNTIME_DIR", "")
        if not user_dir.startswith("/"):  # the XDG rules: a relative one is as good as none
            raise ConfigError("no runtime directory: say --runtime-dir, or set XDG_RUNTIME_DIR")
        runtime_dir = os.path.join(user_dir, "ctld")
    return Places(runtime_dir, state_dir or os.path.join(runtime_dir, "state"))
