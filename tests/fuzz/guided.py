"""One target under atheris: inputs grow by what of the code they reach.  A process of its own, as libFuzzer wants it.

python tests/fuzz/guided.py TARGET [LIBFUZZER ARGUMENT]...
"""

import logging
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["ctld", "ctlctl"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    logging.disable()
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target.fuzz_one)
    atheris.Fuzz()


main()
