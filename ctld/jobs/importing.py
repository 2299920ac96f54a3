"""`ctld jobs import`: a configuration of supervisord in, job files out."""

import os
import sys
from collections.abc import Sequence

from ctld.errors import CommandFailed, ConfigError, NotFound
from ctld.jobs.store import SUFFIX, JobStore
from ctld.jobs.supervisord import Imported, import_supervisord

__all__ = ["run"]


def run(files: Sequence[str], directory: str) -> int:
    """Convert configurations, write the job files, and return the exit status.

    Args:
        files: The configurations.
        directory: Where the job files go; empty: they are only shown.
    """
    status = 0
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            imported = import_supervisord(text, os.environ, os.path.dirname(os.path.abspath(path)))
        except (OSError, UnicodeDecodeError) as error:
            _complain(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no UTF-8'}")
            status = 1
            continue
        except ConfigError as error:
            _complain(f"{path}: {error}")
            status = 1
            continue
        for note in imported.notes:
            _complain(f"{path}: {note}")
        status = max(status, _write(imported, directory) if directory else _show(imported))
        if any(": not imported: " in note for note in imported.notes):
            status = 1
    return status


def _show(imported: Imported) -> int:
    for name, data in imported.files.items():
        sys.stdout.write(f"// {name}{SUFFIX}\n{data.decode()}")
    return 0


def _write(imported: Imported, directory: str) -> int:
    store = JobStore(directory)
    status = 0
    for name, data in imported.files.items():
        try:
            store.read(name)
        except NotFound as error:
            if error.fields.get("kind") != "job":
                _complain(error.message)
                return 1
        except CommandFailed as error:
            _complain(error.message)
            status = 1
            continue
        else:
            _complain(f"there is a job {name!r} already: it is left as it is")
            status = 1
            continue
        store.write(name, data)
        sys.stdout.write(f"{os.path.join(directory, name)}{SUFFIX}\n")
    return status


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")
