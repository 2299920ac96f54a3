"""`ctld`: the reference daemon's command line.

What it has to import depends on what it is asked for: a gatherer's worker starts within
milliseconds, so it is found before anything else is loaded.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]

_USAGE = """\
usage: ctld serve [--config FILE] [--runtime-dir DIR]
       ctld check-config FILE
       ctld gatherer [OPTION...]
       ctld jobs import [--to DIR] FILE...
       ctld --version | --help
"""

_HELP = """\

The reference daemon of ctld, a framework for local control daemons.

  serve          run the daemon, in the foreground, until SIGTERM, SIGINT or `ctlctl shutdown`
    --config FILE      the configuration, in TOML; without it the defaults hold
    --runtime-dir DIR  where sockets live, whatever the configuration says
  check-config   say whether a configuration is right, or name file, line and key
  gatherer       work for a daemon on stdin and stdout
  jobs import    turn configurations of supervisord into job files
    --to DIR           write them there; without it they are only shown

Exit status: 0 ok, 1 it does not work and stderr says why, 2 usage.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What stands after the program's name; None: that of this process.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case ["gatherer", *rest]:
            from ctld.gatherer.worker import main as work

            return work(rest)
        case [*_, "--help" | "-h"] | ["help"]:
            sys.stdout.write(_USAGE + _HELP)
            return 0
        case ["serve", *rest]:
            return _serve(rest)
        case ["check-config", path] if not path.startswith("-"):
            return _check_config(path)
        case ["check-config", *_]:
            return _misused("check-config needs one FILE")
        case ["jobs", "import", *rest]:
            return _import_jobs(rest)
        case ["--version" | "-V"]:
            from ctld.version import VERSION

            sys.stdout.write(f"ctld {VERSION}\n")
            return 0
        case _:
            return _misused(f"there is no command {words[0]!r}" if words else "a command is missing")


def _misused(problem: str) -> int:
    sys.stderr.write(f"ctld: {problem}\n{_USAGE}")
    return 2


def _options(words: list[str], names: Sequence[str]) -> dict[str, str]:
    """Read `--name VALUE` and `--name=VALUE`.

    Raises:
        ValueError: Something else stands there.
    """
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in names:
            raise ValueError(f"there is no option {word!r}")
        if not equals:
            value = next(rest, "")
        if not value:
            raise ValueError(f"{name} needs a value")
        found[name] = value
    return found


def _serve(words: list[str]) -> int:
    import os

    from msgspec.structs import replace

    from ctld.daemon import serve
    from ctld.errors import ConfigError
    from ctld.log import is_journal, set_up_logging
    from ctld.runner import run
    from ctld.settings import Settings, load_settings

    try:
        options = _options(words, ("--config", "--runtime-dir"))
    except ValueError as exc:
        return _misused(str(exc))
    try:
        settings = load_settings(options["--config"]) if "--config" in options else Settings()
    except ConfigError as exc:
        return _failed(exc)
    if "--runtime-dir" in options:
        settings = replace(settings, daemon=replace(settings.daemon, runtime_dir=options["--runtime-dir"]))
    journal = is_journal(sys.stderr, os.environ)
    set_up_logging(sys.stderr, settings.daemon.log_level, settings.daemon.log_format, journal=journal)
    run(serve(settings))
    return 0


def _check_config(path: str) -> int:
    from ctld.errors import ConfigError
    from ctld.policy import Policy
    from ctld.settings import load_settings

    try:
        settings = load_settings(path)
    except ConfigError as exc:
        return _failed(exc)
    for warning in Policy(settings.roles.mapping()).warnings:
        sys.stderr.write(f"{path}: roles: {warning}\n")
    sys.stdout.write(f"{path}: fine\n")
    return 0


def _import_jobs(words: list[str]) -> int:
    from ctld.jobs.importing import run

    flags = [index for index, word in enumerate(words) if word.startswith("-")]
    try:
        begin = flags[0] if flags else len(words)
        length = 1 if flags and "=" in words[begin] else 2
        options = _options(words[begin : begin + length], ("--to",))
    except ValueError as exc:
        return _misused(str(exc))
    files = words[:begin] + words[begin + length :]
    if not files or len(flags) > 1:
        return _misused("jobs import needs a FILE")
    return run(files, options.get("--to", ""))


def _failed(error: Exception) -> int:
    # As `ctld.run()` says it; editors follow FILE:LINE only at the beginning of a line.
    sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
