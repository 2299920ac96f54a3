"""The global part of a command line: what stands before COMMAND; pure.

argparse is not used.  Its import costs half as much as a whole `ctlctl ping`, and what
stands after COMMAND is decided by the daemon's schema, which it could not know.
"""

from __future__ import annotations

from ctlctl.exits import UsageError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Arguments", "help_text", "parse_arguments", "usage_text"]

_USAGE = "usage: {prog} [-s ADDRESS] [--json] [--timeout S] COMMAND WORD... [--option VALUE]..."

_HELP = """{usage}

Ask a daemon to run a command.  Words name the command, the longest that fits; further
words fill its required options in order.  A list is given by repeating its option.

  -s, --socket ADDRESS  unix:PATH, a path with a slash, tcp:HOST:PORT or tls:HOST:PORT;
                        else CTLD_SOCKET, $XDG_RUNTIME_DIR/ctld/ctld.sock, or for root
                        /run/ctld/ctld.sock
  --json                results as JSON, one line each
  --timeout S           cancel the command after so many seconds
  --tls-ca FILE         trust these authorities (CTLD_TLS_CA)
  --tls-cert FILE       show this certificate (CTLD_TLS_CERT)
  --tls-key FILE        its key, if it is in another file (CTLD_TLS_KEY)
  --version             print the version of {prog} and stop
  -h, --help            print this and stop

After COMMAND:
  --option VALUE        an option of the command; --flag and --no-flag for booleans
  --opts JSON           options as one JSON object; those given by name win
  --                    what follows are words

Progress and errors go to stderr, results to stdout.  Ctrl-C cancels the command, a second
one leaves.  Exit status: 0 ok, 1 the command failed, 2 usage, 3 denied, 4 locked or busy,
5 deadline, 6 cancelled, 7 no daemon, 8 protocol.
"""

_VALUED = {
    "-s": "address",
    "--socket": "address",
    "--timeout": "timeout",
    "--tls-ca": "tls_ca",
    "--tls-cert": "tls_certificate",
    "--tls-key": "tls_key",
}
_FLAGS = {"--json": "json", "--help": "help", "-h": "help", "--version": "version"}


class Arguments:
    """What a command line asks for, as far as it can be told without the daemon.

    Attributes:
        address: What `-s` says; None without it.
        json: Whether results are wanted as JSON.
        timeout: The deadline, in seconds; None without one.
        tls_ca: The authorities to trust.
        tls_certificate: The certificate to show.
        tls_key: Its key.
        help: Whether the help is wanted.
        version: Whether the version is wanted.
        words: COMMAND and everything after it, as it stands.
    """

    __slots__ = ("address", "help", "json", "timeout", "tls_ca", "tls_certificate", "tls_key", "version", "words")

    def __init__(self) -> None:
        self.address: str | None = None
        self.json = False
        self.timeout: float | None = None
        self.tls_ca: str | None = None
        self.tls_certificate: str | None = None
        self.tls_key: str | None = None
        self.help = False
        self.version = False
        self.words: list[str] = []

    @property
    def bare(self) -> bool:
        """Whether there is one word and no option: it is sent as it is."""
        return len(self.words) == 1


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
    position = 0
    while position < len(argv):
        word = argv[position]
        if not word.startswith("-") or word == "-":
            break
        position += 1
        if word == "--":
            break
        if word in _FLAGS:
            setattr(arguments, _FLAGS[word], True)
            continue
        name, value = _split(word)
        if name not in _VALUED:
            raise UsageError(f"unknown option {name} (options of the command stand after it)")
        if value is None:
            if position == len(argv):
                raise UsageError(f"{name} needs a value")
            value = argv[position]
            position += 1
        setattr(arguments, _VALUED[name], _seconds(value) if name == "--timeout" else value)
    arguments.words = list(argv[position:])
    if arguments.words and arguments.words[0].startswith("-"):
        raise UsageError(f"{arguments.words[0]} is no command")
    return arguments


def _split(word: str) -> tuple[str, str | None]:
    """Take `--name=value` and `-sVALUE` apart."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--timeout takes a number of seconds above 0, not {text!r}")
    return seconds
