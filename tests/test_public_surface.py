"""The public surface: complete `__all__`, one test file per module, a light import."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ctld

ROOT = Path(__file__).parents[1]
PACKAGES = ("ctld", "ctlctl")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What `import ctld` and the clients must not cost: a CLI starts for every keystroke of completion.
HEAVY = {"asyncio", "msgspec", "orjson", "uvloop", "rich"}


# The contract with downstreams: these names stay.
PROMISED = {
    "AsyncClient", "Call", "Client", "ClientHandler", "Command", "CommandFailed", "CommandRegistry", "ConfigError",
    "Context", "CtldError", "Denied", "Event", "EventBus", "Failure", "Limits", "Listen", "Listener", "Lockable",
    "Manipulable", "Operation", "Option", "Peer", "Progress", "Reply", "Request", "Secret", "Server", "load_config",
    "run",
}  # fmt: skip


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def is_public(path: Path) -> bool:
    return not any(part.startswith("_") and not part.startswith("__") for part in path.parts)


def is_type_variable(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in {"TypeVar", "ParamSpec", "TypeVarTuple"}


def public_definitions(tree: ast.Module) -> set[str]:
    """What a module offers: its classes, functions and constants, not what it imports."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")} - {"logger", "TYPE_CHECKING"}


def test_the_reader_of_definitions_sees_every_form():
    source = (
        "import os\nTYPE_CHECKING = False\nT = TypeVar('T')\nlogger = x\nA = 1\nB: int = 2\n_c = 3\n"
        "def f(): ...\nasync def g(): ...\nclass H: ...\n"
    )
    assert public_definitions(ast.parse(source)) == {"A", "B", "f", "g", "H"}


@pytest.mark.parametrize("path", [path for path in MODULES if is_public(path)], ids=name_of)
def test_all_is_complete(path):
    defined = public_definitions(ast.parse((ROOT / path).read_text()))
    if not defined and path.name == "__init__.py":
        return  # a folder's docstring
    module = importlib.import_module(name_of(path))
    declared = module.__all__
    assert len(declared) == len(set(declared))
    assert not defined - set(declared), f"{path} does not list what it defines"
    assert not [name for name in declared if not hasattr(module, name)], f"{path} lists what it has not"


def test_every_module_has_its_test_file():
    missing = []
    for path in MODULES:
        parts = path.parts[1:] if path.parts[0] == "ctld" else path.parts
        wanted = ROOT.joinpath("tests", *parts[:-1], f"test_{path.stem.strip('_')}.py")
        if path.name != "__init__.py" and not wanted.exists():
            missing.append(f"{path} -> {wanted.relative_to(ROOT)}")
    assert not missing


@pytest.mark.parametrize("module", ["ctld", "ctld.client"])
def test_import_is_light(module):
    # Without `site` there are no installed packages: this also proves "standard library only".
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-ESsc", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & HEAVY


def test_the_promised_names_are_there():
    assert not PROMISED - set(ctld.__all__)


@pytest.mark.parametrize("name", ctld.__all__)
def test_a_public_name_is_found_when_it_is_used(name):
    assert getattr(ctld, name) is not None
    assert name in dir(ctld)


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="has no attribute 'Sevrer'"):
        ctld.Sevrer  # noqa: B018 - the access is the test


def test_type_checkers_see_the_same_names_as_programs():
    tree = ast.parse((ROOT / "ctld/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("ctld.")
        for alias in node.names
    }
    assert seen.keys() == set(ctld.__all__) - {"__version__"}
    for name, origin in seen.items():
        module, _, attribute = origin.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is getattr(ctld, name), name
