"""`ctlctl completion SHELL`, and the hidden command that the printed scripts call.

A completion that lets somebody wait is worse than none: the daemon has a tenth of a second,
and after that there is nothing to offer.  `CTLD_COMPLETE_TIMEOUT` gives it more, for daemons
at the other end of the world.
"""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

from ctlctl import exits
from ctlctl.candidates import candidates
from ctlctl.exits import UsageError
from ctlctl.output import write_line
from ctlctl.shell_words import split_open_line
from ctld.errors import CtldError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from ctlctl.caller import Caller
    from ctlctl.candidates import Candidate

__all__ = ["BUDGET", "formatted", "run", "script"]

BUDGET = 0.1
"""Seconds that the daemon has to say what could come next."""

_BASH = """\
# bash completion for PROG: source it, or put it in bash-completion's completions folder
_FUNCTION_complete() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <("$1" __complete bash "$2" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -o nosort -F _FUNCTION_complete PROG
"""

_ZSH = """\
#compdef PROG
# zsh completion for PROG: put it in a folder of $fpath as _PROG, or source it
_FUNCTION_complete() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        _describe -V PROG found
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == _PROG ]]; then
    _FUNCTION_complete "$@"
else
    compdef _FUNCTION_complete PROG
fi
"""

_FISH = """\
# fish completion for PROG: source it, or put it in ~/.config/fish/completions/PROG.fish
function __FUNCTION_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete fish $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c PROG -f -a '(__FUNCTION_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class _TooLate(Exception):
    """The time is over."""


def run(caller: Caller, words: Sequence[str]) -> int:
    """Print a script, or what its shell asks for.

    Raises:
        UsageError: There is no such shell.
    """
    if caller.arguments.words[0] == "__complete":
        return _complete(caller, words)
    if len(words) != 1 or words[0] not in _SCRIPTS:
        raise UsageError(f"completion takes one of {', '.join(_SCRIPTS)}: see '{caller.prog} help completion'")
    write_line(script(words[0], caller.prog).rstrip())
    return exits.OK


def script(shell: str, prog: str) -> str:
    """Return what a shell has to read so that it completes a program's commands."""
    function = re.sub(r"\W", "_", prog)
    return _SCRIPTS[shell].replace("FUNCTION", function).replace("PROG", prog)


def _complete(caller: Caller, words: Sequence[str]) -> int:
    shell, *rest = words or [""]
    try:
        if shell == "bash":
            rest, text = split_open_line(rest[1])
            replaced = words[1]  # what bash takes for the word: it also breaks at = and :
        else:
            *rest, text = rest or [""]
            replaced = text
        found = _in_time(caller, rest, text)
    except (CtldError, IndexError):
        return exits.OK  # a message in the middle of a line would help nobody
    for line in formatted(shell, found, text, replaced):
        write_line(line)
    return exits.OK


def _in_time(caller: Caller, words: Sequence[str], text: str) -> list[Candidate]:
    """Return candidates, or none if they take too long."""

    def too_late(number: int, frame: FrameType | None) -> None:
        raise _TooLate

    # The address may stand on the line that is completed.
    address = next((after for word, after in pairwise(words) if word in ("-s", "--socket")), None)
    if address is not None:
        caller.address = address
    try:
        budget = float(os.environ.get("CTLD_COMPLETE_TIMEOUT", "")) or BUDGET
    except ValueError:
        budget = BUDGET
    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, max(budget, 0.001))
    try:
        return candidates(caller, words, text)
    except _TooLate:
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def formatted(shell: str, found: Sequence[Candidate], text: str, replaced: str) -> list[str]:
    """Return candidates as the script of a shell takes them."""
    if shell == "zsh":
        return [f"{_escaped(word, ':')}:{about}" if about else _escaped(word, ":") for word, about in found]
    if shell == "fish":
        return [f"{word}\t{about}" if about else word for word, about in found]
    begun = len(text) - len(replaced) if replaced and text.endswith(replaced) else len(text) if not replaced else 0
    return [re.sub(r"([^\w@%+=:,./-])", r"\\\1", word[begun:]) for word, _ in found]


def _escaped(text: str, letter: str) -> str:
    return text.replace("\\", "\\\\").replace(letter, f"\\{letter}")
