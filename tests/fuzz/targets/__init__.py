"""One callable per parser, in the shape that fuzzers drive: it returns, or raises a finding.

Each says what must hold for any bytes: which errors there may be, that what was read can be
written and read again, that cutting the bytes changes nothing, that a slow reading of the
rules comes to the same.  What once was a finding, or looks like one, is kept in
`corpus/TARGET/` and replayed by the ordinary run.
"""

from typing import Final

from tests.fuzz.targets import (
    asking,
    client,
    files,
    fss_control,
    gatherer,
    guest_agent,
    native,
    pictures,
    serving,
    sessions,
    settings,
    taskmaster,
    terminal,
)
from tests.fuzz.targets.target import CORPUS, Target

__all__ = ["CORPUS", "TARGETS", "Target"]

_MODULES: Final = (
    native,
    client,
    taskmaster,
    fss_control,
    guest_agent,
    gatherer,
    files,
    asking,
    settings,
    terminal,
    pictures,
    serving,
    sessions,
)

TARGETS: Final[dict[str, Target]] = {target.name: target for module in _MODULES for target in module.TARGETS}
