"""`ctlctl control`: asks an FSS controller, this daemon or another (specification F5).

Whatever goes wrong before there is an answer goes to stderr and ends with 1, as for the
original: scripts tell by the response line whether there was an answer.
"""

from __future__ import annotations

from ctlctl import exits
from ctlctl.exits import HelpWanted, UsageError
from ctlctl.output import complain, error_line, neutral, write_line
from ctld.dialects.fss_control.client import (
    INIT_ACTIONS,
    RULE_ACTIONS,
    BadOrder,
    ask,
    is_good,
    read_settings,
    sentence,
    socket_path,
)
from ctld.errors import ConnectFailed, CtldError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["complete", "explain", "run"]

_VALUED = {
    "-s": "settings",
    "--settings": "settings",
    "-k": "socket",
    "--socket": "socket",
    "-n": "name",
    "--name": "name",
}


def run(caller: Caller, words: Sequence[str]) -> int:
    """Ask for an action and return the exit status: 0 if it is done, else 1."""
    options: dict[str, str] = {}
    try:
        options, script, order = _split(words)
        settings = read_settings(options.get("settings", ""))
        path = socket_path(settings, options.get("socket", ""), options.get("name", ""))
        response = ask(path, order, timeout=caller.arguments.timeout)
    except HelpWanted:
        raise
    except BadOrder as error:
        complain(caller.prog, neutral(f"control: {error}"))
        return exits.FAILED
    except UsageError as error:
        complain(caller.prog, f"{error_line(error)} (see '{caller.prog} control --help')")
        return exits.FAILED
    except CtldError as error:
        hint = "" if not isinstance(error, ConnectFailed) or options else " (-k says where the controller listens)"
        complain(caller.prog, f"{error_line(error)}{hint}")
        return exits.FAILED
    if script:
        write_line(neutral(f"response {response.type} {response.action} {response.status}", frozenset()))
    elif response.type == "error":
        complain("", neutral(sentence(response)))
    else:
        write_line(neutral(sentence(response)))
    return exits.OK if is_good(response) else exits.FAILED


def complete(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return what may follow these words of a command line, each with what to say of it."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        if rest.pop(0) in _VALUED:
            if not rest:
                return []  # a file, a socket, or its name
            rest.pop(0)
    if not rest:
        options = [(word, "") for word in (*_VALUED, "--return") if len(word) > 2]
        return [*sorted({**INIT_ACTIONS, **RULE_ACTIONS}.items()), *options]
    conditions = 1 if rest[0] in INIT_ACTIONS else 3
    if len(rest) == conditions:
        return [("now", "at once"), ("at", "HH:MM, HH:MM:SS or as ISO 8601 says"), ("in", "a number and its unit")]
    if len(rest) > conditions and rest[conditions] == "in" and (len(rest) - conditions) % 2 == 0:
        return [(unit, "") for unit in ("seconds", "minutes", "hours", "days", "weeks")]
    return []


def explain() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the actions for the help: titles, each with words and what they mean."""
    return [
        ("ACTION DIRECTORY NAME [now | at TIME | in NUMBER UNIT...], on a rule", list(RULE_ACTIONS.items())),
        ("ACTION (now | at TIME | in NUMBER UNIT...), on the machine", list(INIT_ACTIONS.items())),
    ]


def _split(words: Sequence[str]) -> tuple[dict[str, str], bool, list[str]]:
    """Take the options off.

    Raises:
        UsageError: One is unknown, or lacks its value; or the action is missing.
        HelpWanted: That is asked for.
    """
    options: dict[str, str] = {}
    script = False
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        if word in ("-h", "--help"):
            raise HelpWanted(["control"])
        if word in ("-R", "--return"):
            script = True
            continue
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        if name not in _VALUED:
            raise UsageError(f"control has no option {name}")
        if not equals:
            if not rest:
                raise UsageError(f"{name} needs a value")
            value = rest.pop(0)
        options[_VALUED[name]] = value
    if not rest:
        raise UsageError("control needs an action and its words")
    return options, script, rest
