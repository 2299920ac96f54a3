"""Throw bytes at every parser, for as long as you like: `make fuzz SECONDS_EACH=600 ARGS="native frames"`.

`tests/fuzz/targets` says what a target must do with any bytes, and the corpus beside it
holds bytes to start from.  Where atheris is installed the inputs grow by what of the code
they reach; elsewhere a mutator of our own runs.  A finding's input is written to a file,
with the command that replays it; keep it in the corpus, and the ordinary suite does.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fuzz.engine import Outcome, guided, has_atheris, keep, own, replay  # noqa: E402 - the path comes first, to run from any folder
from tests.fuzz.targets import TARGETS, Target  # noqa: E402

WORK = ROOT / ".tmp/fuzz"
MAX_SHOWN = 4000  # characters of a finding: some quote every piece of their input


def main(arguments: list[str] | None = None, known: dict[str, Target] | None = None) -> int:
    known = TARGETS if known is None else known
    parser = argparse.ArgumentParser(description="Throw bytes at parsers, and see that what must hold does.")
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=f"only these; there are {', '.join(known)}")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target")
    parser.add_argument("--engine", choices=("atheris", "own"), help="else atheris, where it is installed")
    parser.add_argument("--work", type=Path, default=WORK, help="where findings and grown inputs go")
    parser.add_argument("--keep", action="store_true", help="afterwards, add what reaches new code to the kept corpus")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the one target on the bytes of a file, once")
    options = parser.parse_args(arguments)
    for name in options.targets:
        if name not in known:
            parser.error(f"there is no target {name!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.targets or known]
    if options.replay is not None:
        if len(chosen) != 1:
            parser.error("a file is for one target")
        return _report(chosen[0], replay(chosen[0], options.replay), 0)
    engine = options.engine or ("atheris" if has_atheris() else "own")
    if engine == "own" and options.engine is None:
        print(
            f"atheris is not installed for Python {platform.python_version()}: "
            "the mutator of our own runs, which does not see what of the code it reaches"
        )
    status = 0
    for target in chosen:
        begun = time.monotonic()
        findings, grown = options.work / "findings", options.work / "grown" / target.name
        if engine == "atheris":
            outcome = guided(target, options.seconds, findings, grown)
        else:
            outcome = own(target, options.seconds, findings)
        status |= _report(target, outcome, time.monotonic() - begun)
        if options.keep and engine == "atheris" and not outcome.found:
            print(f"{target.name}: {keep(target, grown, target.folder)} inputs added to the kept corpus")
    return status


def _report(target: Target, outcome: Outcome, seconds: float) -> int:
    edges = "" if outcome.edges is None else f", {outcome.edges} edges"
    result = "A FINDING" if outcome.found else "nothing found"
    print(f"{target.name}: {outcome.executions} executions in {seconds:.0f} s{edges}: {result}", flush=True)
    if not outcome.found:
        return 0
    print(outcome.report[:MAX_SHOWN])
    if outcome.finding is not None:
        print(f"the input: {outcome.finding}")
        print(f"replay it: {sys.executable} {Path(__file__)} {target.name} --replay {outcome.finding}", flush=True)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
