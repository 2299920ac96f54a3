"""Manual pages from Markdown: the part of Markdown that the reference is written in, as man(7).

Headings become sections, a table becomes a list of definitions (the first column is what is
defined, the last one says what it is, those between stand beside it), and links lose where
they lead to: a terminal cannot follow them.
"""

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["manual"]

_COMMENT: Final = re.compile(r"<!-- man: skip -->.*?<!-- man: go on -->|<!--.*?-->", re.DOTALL)
_INLINE: Final = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*\s][^*]*)\*|!?\[(?P<link>[^\]]*)\]\([^)]*\)"
)
_HEADINGS: Final = {1: "", 2: ".SH", 3: ".SS", 4: ".SS"}


def manual(name: str, section: int, summary: str, version: str, text: str) -> str:
    """Translate a page.

    Args:
        name: What it describes.
        section: The section of the manual.
        summary: Half a sentence: what whatis(1) says.
        version: What the foot of the page says.
        text: The page in Markdown; its first heading is dropped.
    """
    head = [
        f'.TH "{name.upper()}" "{section}" "" "{_escaped(version)}" "{_MANUALS[section]}"',
        ".SH NAME",
        f"{_escaped(name)} \\- {_escaped(summary)}",
        ".SH DESCRIPTION",
    ]
    return "\n".join([*head, *_body(_COMMENT.sub("", text).splitlines())]) + "\n"


_ESCAPES: Final = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
_MANUALS: Final = {1: "User Commands", 5: "File Formats", 8: "System Administration"}


def _body(lines: list[str]) -> Iterator[str]:
    position = 0
    while position < len(lines):
        line = lines[position]
        end = position + 1
        if fence := re.match(r"( *)```", line):
            while not lines[end].startswith(f"{fence[1]}```"):
                end += 1
            yield from _example(lines[position + 1 : end])
            end += 1
        elif heading := re.match(r"(#+) (.*)", line):
            if macro := _HEADINGS[len(heading[1])]:
                title = _inline(heading[2])
                yield f"{macro} {title.upper() if macro == '.SH' else title}"
        elif line.startswith("|"):
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            yield from _definitions(lines[position + 2 : end])
        elif re.match(r"- ", line):
            while end < len(lines) and re.match(r"  \S|- ", lines[end]):
                end += 1
            yield from _list(lines[position:end])
        elif line.strip():
            while end < len(lines) and _goes_on(lines[end]):
                end += 1
            yield from (".PP", _line(" ".join(map(str.strip, lines[position:end]))))
        position = end


def _goes_on(line: str) -> bool:
    return bool(line.strip()) and not re.match(r" *```|#|\||- ", line)


def _example(lines: list[str]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX")
    yield from (_protected(_escaped(line)) for line in lines)
    yield from (".EE", ".RE")


def _definitions(rows: list[str]) -> Iterator[str]:
    for row in rows:
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]
        first, *between, last = cells if len(cells) > 1 else [cells[0], ""]
        beside = ", ".join(filter(None, between))
        yield ".TP"
        yield _line(f"{first} ({beside})" if beside else first)
        yield _line(last or "\\&")


def _list(lines: list[str]) -> Iterator[str]:
    for item in re.split(r"\n- ", "\n" + "\n".join(lines))[1:]:
        yield from (".IP \\(bu 2", _line(" ".join(item.split())))


def _line(text: str) -> str:
    return _protected(_inline(text))


def _inline(text: str) -> str:
    """Translate what stands within a line."""
    parts, position = [], 0
    for match in _INLINE.finditer(text):
        parts.append(_escaped(text[position : match.start()]))
        position = match.end()
        if match["link"] is not None:
            parts.append(_inline(match["link"]))
        elif match["italic"]:
            parts.append(f"\\fI{_escaped(match['italic'])}\\fR")
        else:
            parts.append(f"\\fB{_escaped(match['code'] or match['bold'])}\\fR")
    return "".join([*parts, _escaped(text[position:])])


def _escaped(text: str) -> str:
    """Keep characters what they are: roff would make typography of them, which no shell understands."""
    return text.translate(_ESCAPES)


def _protected(line: str) -> str:
    """Keep a line from being read as a request of roff."""
    return f"\\&{line}" if line.startswith((".", "\\(aq")) else line
