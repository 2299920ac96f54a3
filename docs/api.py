"""The reference of the Python API, from signatures and docstrings as they stand in the source."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["fill", "reference"]

_MARK = re.compile(r"^<!-- api: ([\w.]+) -->$", re.MULTILINE)
_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
_SECTION = re.compile(rf"^({'|'.join(_SECTIONS)}):\n((?:(?:    .*)?\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"(\*{0,2}[\w.]+): (.*)", re.DOTALL)
_DEFAULT = re.compile(r"(: [^=]*\S)=(?=\S)")  # of an annotated argument
_DECORATORS = ("asynccontextmanager", "contextmanager", "classmethod", "staticmethod")  # those that callers notice
_TITLES = {"Args": "Arguments"}


class Docstring(NamedTuple):
    """A Google-style docstring, taken apart."""

    text: str
    sections: dict[str, list[tuple[str, str]]]


def docstring_of(thing: object) -> Docstring:
    text = f"{inspect.getdoc(thing) or ''}\n"
    sections = {match[1]: list(_entries(match[2])) for match in _SECTION.finditer(text)}
    return Docstring(_SECTION.sub("", text).strip(), sections)


def _entries(block: str) -> Iterator[tuple[str, str]]:
    """Read `name: what it is`, with lines that go on deeper; without a name it is only a text."""
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(block).strip("\n")):
        text = " ".join(entry.split())
        match = _ENTRY.fullmatch(text)
        yield (match[1], match[2]) if match else ("", text)


def sections_as_markdown(sections: dict[str, list[tuple[str, str]]]) -> str:
    parts = []
    for name in _SECTIONS:
        if entries := sections.get(name):
            lines = [f"- `{item}`: {text}" if item else f"- {text}" for item, text in entries]
            parts.append(f"**{_TITLES.get(name, name)}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _node_of(thing: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _header(function: Callable[..., Any]) -> str:
    """Return the signature; defaults that only the source can name are left open."""
    node = _node_of(function)
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    node.body = [ast.Expr(ast.Constant(...))]
    node.decorator_list = [mark for mark in node.decorator_list if ast.unparse(mark) in _DECORATORS]
    arguments = node.args
    arguments.defaults = list(map(_default, arguments.defaults))
    arguments.kw_defaults = [default and _default(default) for default in arguments.kw_defaults]
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = argument.annotation and _unquoted(argument.annotation)
    node.returns = node.returns and _unquoted(node.returns)
    header = _DEFAULT.sub(r"\1 = ", ast.unparse(node).replace(":\n    ...", ": ..."))
    return header if len(header) <= 100 else _one_per_line(header)


def _default(node: ast.expr) -> ast.expr:
    open_ended = isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).startswith("_")
    return ast.Constant(...) if open_ended else node


def _unquoted(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return ast.parse(node.value, mode="eval").body
    return node


def _one_per_line(header: str) -> str:
    """Break a signature after the commas between its arguments."""
    start = header.index("(") + 1
    depth, pieces, piece = 1, [], ""
    for position in range(start, len(header)):
        char = header[position]
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            break
        if char == "," and depth == 1:
            pieces.append(f"{piece.strip()},")
            piece = ""
        else:
            piece += char
    pieces.append(f"{piece.strip()},")
    return header[:start] + "\n" + "".join(f"    {piece}\n" for piece in pieces) + header[position:]


def _fields(node: ast.ClassDef) -> list[str]:
    """Return the fields of a data class; what else is annotated in a class body is no business of callers."""
    return [
        ast.unparse(statement)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and not ast.unparse(statement.target).startswith("_")
        and "ClassVar" not in ast.unparse(statement.annotation)
    ]


def _is_data(cls: type) -> bool:
    return hasattr(cls, "__struct_fields__") or hasattr(cls, "__dataclass_fields__")


def _class_header(cls: type) -> str:
    node = _node_of(cls)
    assert isinstance(node, ast.ClassDef)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    body = _fields(node) if _is_data(cls) else []
    constructor = inspect.getattr_static(cls, "__init__")
    if inspect.isfunction(constructor) and not _is_data(cls):
        body.append(_header(constructor))
    head = f"class {cls.__name__}({bases}):" if bases else f"class {cls.__name__}:"
    return "\n".join([head, *(textwrap.indent(line, "    ") for line in body or ["..."])])


def _members(cls: type) -> dict[str, Any]:
    """Return the public methods and properties, of bases in the same package too; those of the class come first."""
    found: dict[str, Any] = {}
    ours = cls.__module__.partition(".")[0]
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == ours:
            for name, member in vars(base).items():
                if not name.startswith("_"):
                    found.setdefault(name, member)
    return found


def _functions(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, member in _members(cls).items():
        function = getattr(member, "__func__", member)  # a class or static method
        if inspect.isfunction(function):
            yield name, function


def _properties(cls: type) -> list[tuple[str, str]]:
    return [
        (name, docstring_of(member).text.partition("\n\n")[0].replace("\n", " "))
        for name, member in _members(cls).items()
        if isinstance(member, property)
    ]


def _function(name: str, function: Callable[..., Any], level: str = "####") -> str:
    described = docstring_of(function)
    signature = f"```pyi\n{_header(function)}\n```\n"
    return "\n".join(
        [f"{level} `{name}`\n", signature, f"{described.text}\n", sections_as_markdown(described.sections)]
    )


def _class(name: str, cls: type) -> str:
    described = docstring_of(cls)
    attributes = described.sections.setdefault("Attributes", [])
    known = {attribute for attribute, _ in attributes}
    attributes += [(name, text) for name, text in _properties(cls) if name not in known]
    parts = [f"### `{name}`\n", f"```pyi\n{_class_header(cls)}\n```\n", f"{described.text}\n"]
    parts.append(sections_as_markdown(described.sections))
    parts += [_function(f"{cls.__name__}.{member}", function) for member, function in _functions(cls)]
    return "\n".join(parts)


def reference(name: str) -> str:
    """Describe `module.name` as Markdown."""
    module, _, attribute = name.rpartition(".")
    thing = getattr(import_module(module), attribute)
    return _class(name, thing) if isinstance(thing, type) else _function(name, thing, level="###")


def fill(text: str) -> str:
    """Put the reference of each name that a page marks, as in `<!-- api: ctld.Server -->`, into the page."""
    return _MARK.sub(lambda mark: reference(mark[1]), text)
