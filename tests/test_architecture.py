"""The architecture as a test: layers, purity, cycles, sizes, names.

A rule that has to give way is changed here, in the same commit and with its reason, so that
it is a decision and not an accident.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# The rooms of ctld/, lowest first.  A module may import from its own layer or from below.
LAYERS = (
    {"errors", "peer", "version", "address", "secret", "limits"},
    {"wire", "event_filter", "lock_queue", "wait_graph", "stream", "ownership", "toml_lines"},
    {
        "locks", "lock_report", "events", "accounts", "callers", "policy", "processes", "systemd", "client",
        "history", "history_entry", "history_store", "history_writer", "directories",
    },
    {"sessions", "jobs", "gatherer"},
    {"commands"},
    {
        "connection", "client_handler", "listeners", "endpoint", "acceptor",
        "credentials", "refusal", "hangup", "admission", "unix_socket", "tls",
        "budget", "patience", "outbox", "outlet", "receiver", "hijack", "conversation", "beside", "exchange",
        "listener", "reception",
    },
    {"server", "shutdown", "signals", "dialects", "runner"},
    {"config", "config_errors", "settings", "daemon", "job_keeper", "log", "__main__"},
    # Beside the layers: for the authors of downstreams, and never imported from within.
    {"testing"},
)  # fmt: skip
RANK = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Logic that is tested without a loop, a socket or a clock has to stay free of them.
PURE = {
    "ctld.wire",
    "ctld.event_filter",
    "ctld.lock_queue",
    "ctld.wait_graph",
    "ctld.toml_lines",
    "ctld.sessions.state",
    "ctld.gatherer.names",
    "ctld.gatherer.paths",
    "ctld.gatherer.patterns",
    "ctld.gatherer.protocol",
    "ctld.gatherer.replies",
    "ctld.gatherer.restarts",
}
IMPURE = {"asyncio", "socket", "os", "time", "select", "selectors", "signal", "subprocess", "threading", "uvloop"}

# What the CLI may know of ctld: the side of the wire that it stands on.
CTLCTL_MAY_IMPORT = ("ctld.client", "ctld.errors", "ctld.address", "ctld.version")

MAX_MODULE = 400
MAX_FUNCTION = 60


class Import(NamedTuple):
    target: str
    line: int
    for_types_only: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for package in ("ctld", "ctlctl") for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(), str(SOURCES[module]))


def targets_of(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
        base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in SOURCES else base


def imports_of(module: str) -> list[Import]:
    found = []

    def visit(node: ast.AST, for_types_only: bool) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.extend(Import(target, node.lineno, for_types_only) for target in targets_of(node, module))
        elif isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, for_types_only)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, for_types_only)

    visit(tree_of(module), False)
    return found


def room_of(module: str) -> str:
    return module.split(".")[1]


def in_rooms(package: str) -> list[str]:
    return [module for module in SOURCES if module.startswith(f"{package}.")]


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_the_reader_of_imports_sees_every_form(monkeypatch, tmp_path):
    path = tmp_path / "probe.py"
    path.write_text(
        "import os.path\n"
        "from ctld import errors\n"
        "from ctld.errors import CtldError\n"
        "from . import peer\n"
        "from .wire.codec import Codec\n"
        "if TYPE_CHECKING:\n    from ctld.address import Address\n"
        "def f():\n    import json\n"
    )
    monkeypatch.setitem(SOURCES, "ctld.probe", path)
    try:
        assert imports_of("ctld.probe") == [
            ("os.path", 1, False),
            ("ctld.errors", 2, False),
            ("ctld.errors", 3, False),
            ("ctld.peer", 4, False),
            ("ctld.wire.codec", 5, False),
            ("ctld.address", 7, True),
            ("json", 9, False),
        ]
    finally:
        tree_of.cache_clear()


@pytest.mark.parametrize("module", in_rooms("ctld"))
def test_every_room_has_a_layer(module):
    assert room_of(module) in RANK, f"give {room_of(module)} a layer in {Path(__file__).name}"


@pytest.mark.parametrize("module", in_rooms("ctld"))
def test_imports_point_downwards(module):
    upwards = [
        f"line {line}: {target}"
        for target, line, _ in imports_of(module)
        if is_within(target, "ctlctl")
        or target == "ctld"  # the shop window: who builds the house does not buy there
        or (target.startswith("ctld.") and RANK.get(room_of(target), -1) > RANK.get(room_of(module), 99))
    ]
    assert not upwards, f"{module} reaches up: {upwards}"


def test_importing_ctld_imports_nothing_of_it_but_the_version():
    eager = [
        target
        for node in tree_of("ctld").body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for target in targets_of(node, "ctld")
        if is_within(target, "ctld")
    ]
    assert eager == ["ctld.version"]


@pytest.mark.parametrize("module", [module for module in SOURCES if any(is_within(module, pure) for pure in PURE)])
def test_pure_modules_stay_pure(module):
    foreign = {target.split(".")[0] for target, _, _ in imports_of(module)} & IMPURE
    assert not foreign, f"{module} is pure, and imports {foreign}"


@pytest.mark.parametrize("module", [module for module in SOURCES if is_within(module, "ctlctl")])
def test_the_cli_stands_on_the_clients_side(module):
    allowed = [*CTLCTL_MAY_IMPORT, *(name for name in SOURCES if name.endswith(".client"))]
    over_the_fence = [
        f"line {line}: {target}"
        for target, line, _ in imports_of(module)
        if is_within(target, "ctld") and not any(is_within(target, name) for name in allowed)
    ]
    assert not over_the_fence, f"{module} knows too much: {over_the_fence}"


def cycles_in(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every cycle that a depth-first walk meets, as the path around it."""
    done: set[str] = set()
    found = []

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
        elif node not in done:
            for target in sorted(graph.get(node, ())):
                walk(target, [*path, node])
            done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def test_the_search_for_cycles_finds_them():
    assert cycles_in({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c", "b"]]
    assert cycles_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_there_is_no_import_cycle():
    graph = {
        module: {target for target, _, for_types_only in imports_of(module) if target in SOURCES and not for_types_only}
        for module in SOURCES
    }
    assert cycles_in(graph) == []


@pytest.mark.parametrize("module", SOURCES)
def test_modules_fit_in_a_head(module):
    lines = len(SOURCES[module].read_text().splitlines())
    assert lines <= MAX_MODULE, f"{module} has {lines} lines: it does more than one job"


@pytest.mark.parametrize("module", SOURCES)
def test_functions_fit_on_a_screen(module):
    long = {
        node.name: size
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION
    }
    assert not long, f"{module}: {long}"


def test_nothing_is_named_util():
    assert not [name for name in SOURCES if {"util", "utils", "helpers", "common", "misc"} & set(name.split("."))]
