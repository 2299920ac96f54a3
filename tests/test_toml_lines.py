"""Lines of TOML keys, against `tomllib` and against texts whose lines are known by construction."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.toml_lines import Path, line_of, toml_lines


def paths_of(value: Any, path: Path = ()) -> set[Path]:
    """Every path in what tomllib has read."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths_of(inner, (*path, index))
    return found


SAMPLE = '''\
# a comment with [brackets] and = signs
top = 1
"quoted key" = "a # no comment"   # a comment
'literal' = 'C:\\path'
dotted . inner."x.y" = true

[daemon]
runtime_dir = "/run/x"
text = """
[not.a.table]
key = "neither"
""""
after = \'\'\'
'quotes' ''\'\'\'

[[listen]]
address = "unix:/a"
modes = [
  "0600",  # first
  [1, 2],
  { a = 1, b.c = [2, { d = 3 }] },
]

[[listen]]   # the second
address = "unix:/b"
[listen.tls]
key = 2026-11-22T14:00:00Z
[[listen.rules]]
uid = 0
[[listen.rules]]
uid = 1
[a.b.c]
x = 1
[a]
y = -1.5e3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("literal",), 4),
        (("dotted",), 5),
        (("dotted", "inner", "x.y"), 5),
        (("daemon",), 7),
        (("daemon", "runtime_dir"), 8),
        (("daemon", "text"), 9),
        (("daemon", "after"), 13),
        (("listen",), 16),
        (("listen", 0), 16),
        (("listen", 0, "address"), 17),
        (("listen", 0, "modes"), 18),
        (("listen", 0, "modes", 0), 19),
        (("listen", 0, "modes", 1, 1), 20),
        (("listen", 0, "modes", 2, "b", "c", 1, "d"), 21),
        (("listen", 1), 24),
        (("listen", 1, "address"), 25),
        (("listen", 1, "tls"), 26),
        (("listen", 1, "tls", "key"), 27),
        (("listen", 1, "rules", 0, "uid"), 29),
        (("listen", 1, "rules", 1), 30),
        (("listen", 1, "rules", 1, "uid"), 31),
        (("a", "b", "c", "x"), 33),
        (("a",), 34),
        (("a", "y"), 35),
    ],
)
def test_every_shape_of_key_is_found(path, line):
    assert toml_lines(SAMPLE)[path] == line


def test_all_paths_of_the_sample_and_no_others():
    assert set(toml_lines(SAMPLE)) == paths_of(tomllib.loads(SAMPLE))


def test_windows_line_ends():
    assert toml_lines('a = """\r\nx\r\n"""\r\nb = 1\r\n') == {("a",): 1, ("b",): 4}


def test_an_empty_text():
    assert toml_lines("") == {}
    assert toml_lines("# only a comment") == {}


def test_text_that_is_no_toml_is_the_callers_mistake():
    with pytest.raises(ValueError, match="no TOML at offset 0"):
        toml_lines("= 1")


def test_line_of_falls_back_to_what_is_around():
    lines = {("listen",): 3, ("listen", 0): 3, ("listen", 0, "mode"): 5}
    assert line_of(lines, ("listen", 0, "mode")) == 5
    assert line_of(lines, ("listen", 0, "mode", "deeper")) == 5
    assert line_of(lines, ("listen", 0, "missing")) == 3
    assert line_of(lines, ("elsewhere",)) is None
    assert line_of(lines, ()) is None


# Texts made so that the line of every key is known: each key carries the line it was written on.

plain = st.characters(
    min_codepoint=0x20, max_codepoint=0x2FFF, exclude_characters="\x7f\"'\\", exclude_categories=["Cs"]
)
bare_key = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
quoted_key = st.one_of(
    st.text(plain, max_size=5).map(lambda text: f'"{text}"'),
    st.text(plain, max_size=5).map(lambda text: f"'{text}'"),
    st.sampled_from([r'"\""', r'"\\"', r'"\u00e9"', '"a.b"', "'[x]'", '"#"', '"="']),
)
key = st.one_of(bare_key, quoted_key)
dotted = st.lists(key, min_size=1, max_size=3).flatmap(
    lambda keys: st.sampled_from([".", " . ", "\t. "]).map(lambda dot: dot.join(keys))
)
string = st.one_of(
    st.text(plain, max_size=8).map(lambda text: f'"{text}"'),
    st.text(plain, max_size=8).map(lambda text: f"'{text}'"),
    st.sampled_from(
        ['""', "''", r'"\"]"', '"""a"""', '"""a\n]b"c\n"""', "'''\n'''", "''''''", '""""""', '"""""q"""""']
    ),
    st.sampled_from(["'''''a'''''", '"""\\"""x"""', '"""a \\\n  b"""', '"""\n[x]\n# y = 1\n"""']),
)
scalar = st.one_of(
    string,
    st.sampled_from(["1", "0x1F", "1_000", "-1.5e+3", "inf", "true", "1979-05-27T07:32:00Z", "07:32:00"]),
    st.sampled_from(["1979-05-27 07:32:00"]),
)
gap = st.sampled_from(["", " ", "\n", "  # c ] } , \n", "\n\n\t"])


def array(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    element = st.tuples(gap, values, gap).map("".join)
    return st.tuples(st.lists(element, max_size=3).map(",".join), gap).map(lambda parts: f"[{parts[0]}{parts[1]}]")


def inline_table(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(dotted, values).map(" = ".join)
    return st.lists(pair, max_size=3).map(lambda pairs: "{ " + ", ".join(pairs) + " }")


value = st.recursive(scalar, lambda inner: array(inner) | inline_table(inner), max_leaves=8)
line = st.one_of(
    st.sampled_from(["", "# comment [x] = 1", "   "]),
    dotted.map(lambda name: f"[{name}]"),
    dotted.map(lambda name: f"[[ {name} ]]  # c"),
    st.tuples(dotted, value).map(lambda pair: f"{pair[0]} = {pair[1]}"),
)


@given(st.lists(line, max_size=12))
def test_whatever_tomllib_accepts_has_all_its_paths(pieces):
    accepted: list[str] = []
    for piece in pieces:  # keep what makes a valid text with what is there: duplicates are common
        try:
            tomllib.loads("\n".join([*accepted, piece]))
        except tomllib.TOMLDecodeError:
            continue
        accepted.append(piece)
    text = "\n".join(accepted)
    lines = toml_lines(text)
    assert set(lines) == paths_of(tomllib.loads(text))
    assert all(1 <= number <= text.count("\n") + 1 for number in lines.values())


@settings(max_examples=40)  # each makes ten values
@given(st.lists(st.tuples(st.integers(0, 3), value), max_size=10))
def test_lines_are_the_ones_that_were_written(pieces):
    text, expected = "", {}
    for number, (blank, content) in enumerate(pieces):
        text += "\n" * blank
        expected[f"key{number}",] = text.count("\n") + 1
        text += f"key{number} = {content}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # an inline table that names a key twice
    lines = toml_lines(text)
    assert {path: lines[path] for path in expected} == expected
