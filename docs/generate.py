"""Fill the generated parts of the reference from the code, so that they cannot be wrong.

A page marks them: `<!-- generated: NAME -->` ... `<!-- end -->`.  `python docs/generate.py [FOLDER]`
rewrites what lies between; with `--check` it only says which pages are out of date.
"""

import collections.abc
import contextlib
import inspect
import io
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever is installed

import ctlctl
import ctld.__main__
import ctld.errors
from ctlctl.cli import LOCAL
from ctlctl.exits import status_of
from ctld.commands.builtins import builtin_commands
from ctld.commands.gather import gather_commands
from ctld.commands.jobs import job_commands
from ctld.commands.registry import CommandRegistry
from ctld.commands.schedule import Schedule, schedule_commands
from ctld.dialects.fss_control.codec import FssCodec
from ctld.dialects.fss_control.commands import control_commands, freezer_commands
from ctld.dialects.fss_control.handler import FssListen
from ctld.dialects.fss_control.packet import HEAD_SIZE
from ctld.dialects.fss_control.responses import decode_response
from ctld.dialects.guest_agent.codec import GuestAgentCodec
from ctld.dialects.guest_agent.commands import agent_commands
from ctld.dialects.guest_agent.handler import GuestAgentListen
from ctld.dialects.taskmaster.codec import TaskmasterCodec
from ctld.dialects.taskmaster.handler import TaskmasterListen
from ctld.endpoint import Listen
from ctld.errors import CommandFailed
from ctld.gatherer.collection import Item
from ctld.gatherer.manifest import FileEntry, ItemEntry
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import GathererSettings, Profile
from ctld.gatherer.report_store import ReportStore
from ctld.jobs.settings import JobSettings
from ctld.jobs.state import mermaid
from ctld.jobs.store import JobStore
from ctld.jobs.supervisor import Supervisor
from ctld.limits import Limits
from ctld.sessions.state import mermaid as session_states
from ctld.settings import DaemonSettings, EventSettings, HistorySettings, RoleSettings, Settings
from ctld.wire.messages import Failure

PAGES = Path(__file__).parent / "reference"
_PART = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w.]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---" for _ in head], *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def summary(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def attributes(cls: type) -> dict[str, str]:
    """Read the `Attributes:` section of a Google-style docstring."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        if match := re.fullmatch(r"    (\w+): (.*)", line):
            found[match[1]] = match[2]
        elif found and line.startswith("        "):
            found[list(found)[-1]] += f" {line.strip()}"
    return found


def type_name(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return type_name(typing.get_args(hint)[0])
    if origin is typing.Literal:
        return ", ".join(f'`"{value}"`' for value in typing.get_args(hint))
    if origin is collections.abc.Mapping:
        return "table"
    if origin in (tuple, list):
        return f"array of {type_name(typing.get_args(hint)[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(choice) for choice in typing.get_args(hint) if choice is not types.NoneType)
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(hint, "table")


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default in (None, msgspec.NODEFAULT):
        return ""
    return f"`{json.dumps(field.default)}`"  # for such values TOML writes the same


def keys_of(cls: type[msgspec.Struct], *, besides: type[msgspec.Struct] | None = None) -> str:
    known = {} if besides is None else {field.name: field.default for field in msgspec.structs.fields(besides)}
    described = attributes(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    return table(
        ("key", "type", "default", "what it is"),
        (
            (f"`{field.encode_name}`", type_name(hints[field.name]), default_of(field), described[field.name])
            for field in msgspec.structs.fields(cls)
            if known.get(field.name, field) != field.default
        ),
    )


def slugs() -> str:
    classes = [getattr(ctld.errors, name) for name in ctld.errors.__all__]
    failures = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, CommandFailed)]
    rows = ((f"`{cls.code}`", f"`{cls.__name__}`", summary(cls)) for cls in failures)
    return table(("slug", "class", "meaning"), rows)


def tree() -> str:
    lines = []

    def draw(cls: type[BaseException], depth: int) -> None:
        lines.append(f"{'    ' * depth}{cls.__name__}")
        for child in sorted(cls.__subclasses__(), key=str):
            if child.__module__ == "ctld.errors":
                draw(child, depth + 1)

    draw(ctld.errors.CtldError, 0)
    return "```text\n" + "\n".join(lines) + "\n```\n"


def other_errors() -> str:
    classes = [getattr(ctld.errors, name) for name in ctld.errors.__all__]
    others = [cls for cls in classes if isinstance(cls, type) and not issubclass(cls, CommandFailed)]
    return table(("class", "meaning"), ((f"`{cls.__name__}`", summary(cls)) for cls in others))


def commands(registry: CommandRegistry[Any]) -> str:
    rows = []
    for command in sorted(registry, key=lambda command: command.name):
        options = command.options_schema.get("properties", {})
        required = command.options_schema.get("required", [])
        names = ", ".join(f"`{name}`" if name in required else f"`[{name}]`" for name in options)
        rows.append((f"`{command.name}`", command.role, names, command.doc.partition("\n")[0]))
    return table(("command", "role", "options", "what it does"), rows)


def printed(main: Callable[[list[str]], int], *arguments: str) -> str:
    """Return what a program prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([*arguments])
    return f"```text\n{out.getvalue()}```\n"


def dialect_errors() -> str:
    """Have each dialect say each failure."""
    classes = [getattr(ctld.errors, name) for name in ctld.errors.__all__]
    slugs = [cls.code for cls in classes if isinstance(cls, type) and issubclass(cls, CommandFailed)]
    rows = ((f"`{slug}`", as_taskmaster(slug), as_fss(slug), as_guest_agent(slug)) for slug in slugs)
    own = (
        "a command's own, such as `vm.paused`",
        *(say("vm.paused") for say in (as_taskmaster, as_fss, as_guest_agent)),
    )
    return table(("slug", "Taskmaster", "FSS control", "guest agent"), [*rows, own])


def as_taskmaster(slug: str) -> str:
    codec = TaskmasterCodec()
    codec.send(Failure("no", slug))
    return f"`{json.loads(codec.data_to_send().removesuffix(b';;'))['response']}`"


def as_fss(slug: str) -> str:
    codec = FssCodec()
    codec.action = "start"
    codec.send(Failure("no", slug))
    response = decode_response(codec.data_to_send()[HEAD_SIZE:])
    return f"`{response.type}` `{response.status}`"


def as_guest_agent(slug: str) -> str:
    codec = GuestAgentCodec(max_request=2)
    codec.send(Failure("no", slug))
    return str(json.loads(codec.data_to_send())["Status"])


def fss_commands() -> str:
    registry = freezer_commands()
    registry.include(control_commands([FssListen(address="", reboot_command=("-",), kexec_command=("-",))]))
    return commands(registry)


def own_commands() -> str:
    rows = ((f"`{words}`", f"`{more}`" if more else "", what) for words, (_, more, what) in LOCAL.items() if what)
    return table(("words", "what may follow", "what it does"), rows)


def exits() -> str:
    classes = [getattr(ctld.errors, name) for name in ctld.errors.__all__]
    failures = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, CommandFailed)]
    return table(("slug", "exit status"), ((f"`{cls.code}`", str(status_of(cls("")))) for cls in failures))


PARTS: dict[str, Callable[[], str]] = {
    "errors.slugs": slugs,
    "errors.others": other_errors,
    "errors.tree": tree,
    "configuration.daemon": lambda: keys_of(DaemonSettings),
    "configuration.limits": lambda: keys_of(Limits),
    "configuration.roles": lambda: keys_of(RoleSettings),
    "configuration.history": lambda: keys_of(HistorySettings),
    "configuration.events": lambda: keys_of(EventSettings),
    "configuration.jobs": lambda: keys_of(JobSettings),
    "configuration.gatherer": lambda: keys_of(GathererSettings),
    "configuration.profile": lambda: keys_of(Profile),
    "gather.commands": lambda: commands(gather_commands(Pool({}), ReportStore(""))),
    "gather.item": lambda: keys_of(Item),
    "gather.entry": lambda: keys_of(ItemEntry),
    "gather.file": lambda: keys_of(FileEntry),
    "configuration.listen": lambda: keys_of(Listen),
    "commands.builtins": lambda: commands(builtin_commands()),
    "sessions.states": lambda: f"```mermaid\n{session_states()}```\n",
    "jobs.commands": lambda: commands(job_commands(Supervisor(JobStore(""), ""))),
    "taskmaster.listen": lambda: keys_of(TaskmasterListen, besides=Listen),
    "fss.listen": lambda: keys_of(FssListen, besides=Listen),
    "fss.commands": fss_commands,
    "guest.listen": lambda: keys_of(GuestAgentListen, besides=Listen),
    "guest.commands": lambda: commands(agent_commands(Settings())),
    "dialects.errors": dialect_errors,
    "schedule.commands": lambda: commands(schedule_commands(Schedule(""))),
    "ctlctl.exits": exits,
    "ctlctl.own": own_commands,
    "ctlctl.help": lambda: printed(ctlctl.main, "--help"),
    "ctld.help": lambda: printed(ctld.__main__.main, "--help"),
    "jobs.states": lambda: f"```mermaid\n{mermaid()}```\n",
}


def render(text: str) -> str:
    return _PART.sub(lambda match: f"{match['begin']}\n{PARTS[match['name']]()}\n{match['end']}", text)


def main(arguments: list[str]) -> int:
    stale = []
    folder = next((Path(word) for word in arguments if not word.startswith("-")), PAGES)
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        fresh = render(text)
        if fresh != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(fresh)
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
