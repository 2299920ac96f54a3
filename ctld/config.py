"""Configuration files: TOML into typed values, and errors that say where to look.

Every mistake is a `ConfigError` of one line, `FILE:LINE: key: reason`, in the form that
compilers use and editors follow.
"""

import os
import re
import tomllib
from datetime import date, datetime, time
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

import msgspec

from ctld.config_errors import Mistake, find_unknown_key, mistake_of, spell
from ctld.errors import ConfigError
from ctld.toml_lines import Path, line_of, toml_lines

__all__ = ["TomlDocument", "load_config"]

T = TypeVar("T")

# tomllib's own values, which need no conversion.
_NATIVE: Final = (datetime, date, time)


def load_config(path: str | os.PathLike[str], type: type[T]) -> T:
    """Read a TOML file as a value of your msgspec type.

    A key that the type does not know is an error, also where the type would let it pass:
    a misspelled setting must not be a silent one.  A field of type `dict` takes any keys.

    Args:
        path: The file.
        type: A msgspec Struct, dataclass or TypedDict.

    Raises:
        ConfigError: The file cannot be read, is no TOML, or does not fit; the message
            names the file, the line and the key.
    """
    return TomlDocument.read(path).convert(type)


class TomlDocument:
    """A TOML file that has been read, and can say in which line something is wrong."""

    def __init__(self, name: str, text: str) -> None:
        """Parse a text.

        Args:
            name: What to call it in errors, such as the path of the file.
            text: The TOML.

        Raises:
            ConfigError: It is no TOML.
        """
        self.name = _one_line(name)
        self._text = text
        try:
            self._data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise self._syntax_error(str(exc)) from None
        except RecursionError:
            raise ConfigError(f"{self.name}: it is nested too deeply") from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "TomlDocument":
        """Read a file.

        Raises:
            ConfigError: It cannot be read, or is no TOML.
        """
        name = os.fsdecode(path)
        try:
            raw = FilePath(path).read_bytes()
        except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
            reason = getattr(exc, "strerror", None) or str(exc)
            raise ConfigError(f"cannot read {_one_line(name)}: {reason}") from None
        try:
            return cls(name, raw.decode())
        except UnicodeDecodeError as exc:
            line = raw.count(b"\n", 0, exc.start) + 1
            raise ConfigError(f"{_one_line(name)}:{line}: this is no UTF-8") from None

    def convert(self, type: type[T], path: Path = ()) -> T:
        """Return the content as a value of that type.

        Args:
            type: The type.
            path: The part of the content that is meant; it must be there.

        Raises:
            ConfigError: It does not fit.
        """

        def convert(data: object) -> Any:
            return msgspec.convert(data, type, builtin_types=_NATIVE, str_keys=True)

        data: Any = self._data
        for step in path:
            data = data[step]
        info = msgspec.inspect.type_info(type)
        if mistake := find_unknown_key(data, info, path):
            raise self.error(mistake)
        try:
            value: T = convert(data)
        except msgspec.ValidationError as exc:
            mistake = mistake_of(exc, data, info, convert)
            raise self.error(Mistake((*path, *mistake.path), mistake.reason)) from None
        return value

    def error(self, mistake: Mistake) -> ConfigError:
        """Make the error that names the place of a mistake."""
        try:
            line = line_of(toml_lines(self._text), mistake.path)
        except RecursionError:
            line = None  # so deep that only tomllib could follow: the key has to do
        place = self.name if line is None else f"{self.name}:{line}"
        key = f"{spell(mistake.path)}: " if mistake.path else ""
        return ConfigError(_one_line(f"{place}: {key}{mistake.reason}"))

    def _syntax_error(self, message: str) -> ConfigError:
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL):
            reason, line = found[1], int(found[2])
        else:
            reason = message.removesuffix(" (at end of document)")
            line = self._text.rstrip("\n").count("\n") + 1
        return ConfigError(_one_line(f"{self.name}:{line}: {reason[:1].lower()}{reason[1:]}"))


def _one_line(text: str) -> str:
    """Neutralise what would break the line or the terminal: names and values are anybody's."""
    return "".join(character if character.isprintable() else "?" for character in text)
