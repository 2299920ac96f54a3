"""`load_config`: every mistake is one line that names file, line and key (issue 2, point 6)."""

import datetime
from typing import Annotated

import msgspec
import pytest

from ctld.config import TomlDocument, load_config
from ctld.errors import ConfigError
from ctld.toml_lines import toml_lines


class Rule(msgspec.Struct):
    uid: Annotated[int, msgspec.Meta(ge=0)]
    until: datetime.date | None = None


class Settings(msgspec.Struct):
    title: str = ""
    rules: list[Rule] = []


@pytest.fixture
def error(tmp_path):
    def provoke(content: str | bytes) -> str:
        path = tmp_path / "some.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(ConfigError) as caught:
            load_config(path, Settings)
        message = str(caught.value)
        assert "\n" not in message
        return message.replace(f"{tmp_path}/", "")

    return provoke


def test_a_good_file_becomes_a_typed_value(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text('title = "é"\n[[rules]]\nuid = 0\nuntil = 2026-11-22\n')
    assert load_config(str(path), Settings) == Settings("é", [Rule(0, datetime.date(2026, 11, 22))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\n\n[[rules]]\nuid = -1\n', "some.toml:4: rules[0].uid: expected integer >= 0"),
        ("[[rules]]\n\n[[rules]]\nuid = 0\n", "some.toml:1: rules[0]: the key uid is missing"),
        ("rules = [\n  { uid = 1 },\n  { uid = 'x' },\n]", "some.toml:3: rules[1].uid: expected integer, got string"),
        ("\ntitel = 1\n", "some.toml:2: titel: there is no such key; did you mean title?"),
        ('[[rules]]\nuid = 1\n"a b" = 2', 'some.toml:3: rules[0]."a b": there is no such key; there are uid, until'),
        ("title = 1\ntitle = 2\n", "some.toml:2: cannot overwrite a value"),
        ("title = 1\n\n= 2\n", "some.toml:3: invalid statement"),
        ('title = "x\n', "some.toml:1: illegal character '\\n'"),
        ('a = 1\ntitle = """x\n\n', "some.toml:2: unterminated string"),
        ("\x1b]0;evil\x07 = 1", "some.toml:1: invalid statement"),
        ('title = "\x1b"', "some.toml:1: illegal character '\\x1b'"),
    ],
)
def test_a_mistake_names_file_line_and_key(error, text, message):
    assert error(text) == message


def test_text_that_is_no_utf8_names_its_line(error):
    assert error(b'title = "a"\n# \xff\n') == "some.toml:2: this is no UTF-8"


def test_nesting_without_end(error):
    assert error("rules = " + "[" * 20_000) == "some.toml: it is nested too deeply"


def test_control_characters_of_a_value_do_not_reach_the_terminal():
    with pytest.raises(ConfigError, match=r"^x\?y:1: title: 1$"):
        raise TomlDocument("x\ny", "title = 2").error(_mistake("title", "1"))
    with pytest.raises(ConfigError, match=r"'\?\[2J' is bad"):
        raise TomlDocument("x", "title = 2").error(_mistake("title", "'\x1b[2J' is bad"))


def _mistake(key, reason):
    from ctld.config_errors import Mistake

    return Mistake((key,), reason)


def test_a_mistake_about_the_whole_file_has_no_key(tmp_path):
    class Strict(msgspec.Struct):
        must: int

    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.toml: the key must is missing$"):
        load_config(path, Strict)


def test_a_line_that_cannot_be_found_leaves_the_key(monkeypatch):
    def too_deep(text):
        toml_lines(text)
        raise RecursionError

    monkeypatch.setattr("ctld.config.toml_lines", too_deep)
    assert str(TomlDocument("f", "title = 2").error(_mistake("title", "no"))) == "f: title: no"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.toml: No such file or directory$"):
        load_config(tmp_path / "missing.toml", Settings)
    with pytest.raises(ConfigError, match=r"Is a directory$"):
        load_config(tmp_path, Settings)
    with pytest.raises(ConfigError, match=r"^cannot read a\?b: embedded null byte$"):
        load_config("a\0b", Settings)
