"""The global part of a command line: what stands before COMMAND; pure.

argparse is not used.  Its import costs half as much as a whole `ctlctl ping`, and what
stands after COMMAND is decided by the daemon's schema, which it could not know.  The long
options about output and behaviour may stand there as well, unless the command has one of
that name: `ctlctl job list --json` is what people type.
"""

from __future__ import annotations

from ctlctl.exits import UsageError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FLAGS", "VALUED", "Arguments", "help_text", "parse_arguments", "usage_text"]

_USAGE = "usage: {prog} [-s ADDRESS] [--json] [--timeout S] COMMAND WORD... [--option VALUE]..."

_HELP = """{usage}

Ask a daemon to run a command.  Words name the command, the longest that fits; further
words fill its required options in order.  A list is given by repeating its option.
'{prog}' alone lists the commands, '{prog} help COMMAND' explains one.

Where:
  -s, --socket ADDRESS  unix:PATH, a path with a slash, tcp:HOST:PORT, tls:HOST:PORT or
                        ssh://[USER@]HOST[:PORT][/PATH]; else CTLD_SOCKET,
                        $XDG_RUNTIME_DIR/ctld/ctld.sock, or for root /run/ctld/ctld.sock
  --tls-ca FILE         trust these authorities (CTLD_TLS_CA)
  --tls-cert FILE       show this certificate (CTLD_TLS_CERT)
  --tls-key FILE        its key, if it is in another file (CTLD_TLS_KEY)

How (the long ones also after COMMAND, unless it has an option of that name):
  --timeout S           cancel the command after so many seconds
  --detach              let it run on as an operation, and print its id
  -q, --quiet           no progress
  --json                the result as one JSON document
  --json-seq            results as JSON, one line each, as they come
  --columns A,B         only these columns, in this order
  --sort A,-B           order the rows by these columns; - for the highest first
  --watch[=S]           run it again every S seconds (2)
  --version             print the version of {prog} and stop
  -h, --help            print this and stop
  --                    what follows is a command of the daemon, even if {prog} has one
                        of that name

After COMMAND:
  --option VALUE        an option of the command; --flag and --no-flag for booleans
  --opts JSON           options as one JSON object; those given by name win
  @FILE, -              as a value: the content of a file, or of the standard input,
                        without its last line break; @@ for a value that begins with @
  --secret-file FILE, --secret-env NAME
                        for an option 'secret' that is one: not on the command line
  --                    what follows are words

Progress and errors go to stderr, results to stdout.  Ctrl-C cancels the command, a second
one leaves it running where that is possible, a third leaves at once.  Exit status: 0 ok,
1 the command failed, 2 usage, 3 denied, 4 locked or busy, 5 deadline, 6 cancelled, 7 no
daemon, 8 protocol.
"""

_INTERVAL = 2.0  # seconds between two runs of --watch, as watch(1) has it
_LEAST_INTERVAL = 0.1  # more often nobody can read, and a daemon has better things to do

VALUED = {
    "--timeout": "timeout",
    "--columns": "columns",
    "--sort": "sort",
}
"""The long options about output and behaviour that take a value."""

FLAGS = {"--json": "json", "--json-seq": "json_seq", "--quiet": "quiet", "--detach": "detach"}
"""Those that take none."""

_VALUED = VALUED | {
    "-s": "address",
    "--socket": "address",
    "--tls-ca": "tls_ca",
    "--tls-cert": "tls_certificate",
    "--tls-key": "tls_key",
}
_FLAGS = FLAGS | {"-q": "quiet", "--help": "help", "-h": "help", "--version": "version"}


class Arguments:
    """What a command line asks for, as far as it can be told without the daemon.

    Attributes:
        address: What `-s` says; None without it.
        json: Whether the result is wanted as one JSON document.
        json_seq: Whether results are wanted as JSON, one line each.
        quiet: Whether progress is unwanted.
        detach: Whether the command shall run on its own.
        columns: The columns that are wanted; empty: all.
        sort: The columns to order by, with `-` for descending.
        watch: Seconds between two runs; 0: it runs once.
        timeout: The deadline, in seconds; None without one.
        tls_ca: The authorities to trust.
        tls_certificate: The certificate to show.
        tls_key: Its key.
        help: Whether the help is wanted.
        version: Whether the version is wanted.
        literal: Whether COMMAND is the daemon's, whatever its name.
        words: COMMAND and everything after it, as it stands.
    """

    __slots__ = (
        "address", "columns", "detach", "help", "json", "json_seq", "literal", "quiet", "sort", "timeout", "tls_ca",
        "tls_certificate", "tls_key", "version", "watch", "words",
    )  # fmt: skip  # a list of names

    def __init__(self) -> None:
        self.address: str | None = None
        self.json = self.json_seq = self.quiet = self.detach = False
        self.columns: list[str] = []
        self.sort: list[str] = []
        self.watch = 0.0
        self.timeout: float | None = None
        self.tls_ca: str | None = None
        self.tls_certificate: str | None = None
        self.tls_key: str | None = None
        self.help = self.version = self.literal = False
        self.words: list[str] = []

    @property
    def bare(self) -> bool:
        """Whether there is one word and no option: it is sent as it is."""
        return len(self.words) == 1

    def copy(self) -> Arguments:
        """Return the same, to be changed for one run of several."""
        other = Arguments()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def take(self, word: str, rest: list[str]) -> bool:
        """Take an option that stands after COMMAND, if it is one of those that may.

        Args:
            word: The option.
            rest: What follows, in reverse order; its value is taken off.

        Raises:
            UsageError: It lacks its value, or has one that makes no sense.
        """
        name, value = _split(word)
        return (name in VALUED or name in FLAGS or name == "--watch") and self._option(name, value, rest)

    def _option(self, name: str, value: str | None, rest: list[str]) -> bool:
        if name == "--watch":
            self.watch = _seconds(value, name) if value is not None else _INTERVAL
            self.watch = max(self.watch, _LEAST_INTERVAL)
            return True
        if name in _FLAGS:
            if value is not None:
                raise UsageError(f"{name} takes no value")
            setattr(self, _FLAGS[name], True)
            return True
        if name not in _VALUED:
            return False
        if value is None:
            if not rest:
                raise UsageError(f"{name} needs a value")
            value = rest.pop()
        if name == "--timeout":
            self.timeout = _seconds(value, name)
        elif name in ("--columns", "--sort"):
            setattr(self, _VALUED[name], [column for column in value.split(",") if column])
        else:
            setattr(self, _VALUED[name], value)
        return True


def usage_text(prog: str) -> str:
    """Return the one line that reminds of the grammar."""
    return _USAGE.format(prog=prog)


def help_text(prog: str) -> str:
    """Return what `--help` prints."""
    return _HELP.format(prog=prog, usage=usage_text(prog))


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Take the global options off a command line.

    Raises:
        UsageError: One of them is unknown, or lacks its value.
    """
    arguments = Arguments()
    rest = list(reversed(argv))
    while rest and rest[-1].startswith("-") and rest[-1] != "-":
        word = rest.pop()
        if word == "--":
            arguments.literal = True
            break
        name, value = _split(word)
        if not arguments._option(name, value, rest):  # noqa: SLF001 - the class and its parser are one
            raise UsageError(f"unknown option {name} (options of the command stand after it)")
    arguments.words = rest[::-1]
    if arguments.words and arguments.words[0].startswith("-"):
        raise UsageError(f"{arguments.words[0]} is no command")
    return arguments


def _split(word: str) -> tuple[str, str | None]:
    """Take `--name=value` and `-sVALUE` apart."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{name} takes a number of seconds above 0, not {text!r}")
    return seconds
