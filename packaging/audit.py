"""Ask an advisory service about every package of this environment: `python packaging/audit.py`.

Fails for a known weakness, and where `pip-audit` itself is broken.  Without a network, or without a
service that answers, nothing is known and nothing fails, and it says so: a build must not depend on
somebody's server, and nobody must take silence for an all-clear.

A weakness that does not concern us is named in pyproject.toml, with the reason:

    [tool.audit.ignore]
    PYSEC-2099-1 = "only of servers that do what ours does not"
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

COMMAND = (sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable")

# Seconds: for one question, and for all.  A service that is slower than this is not there.
TIMEOUT = 15
PATIENCE = 300

# What is said where there is no network, by the libraries that pip-audit asks with.
OFFLINE = (
    "ConnectionError",
    "Connection refused",
    "ConnectTimeout",
    "Could not connect",
    "Max retries exceeded",
    "Name or service not known",
    "NameResolutionError",
    "Network is unreachable",
    "ProxyError",
    "ReadTimeout",
    "SSLError",
    "Temporary failure in name resolution",
    "ServiceError",
    "timed out",
)


def judge(report: Mapping[str, Any], ignored: Mapping[str, str]) -> tuple[list[str], bool]:
    """Return what to say about a report of pip-audit, and whether all is well as far as is known."""
    said: list[str] = []
    well = True
    dependencies = report["dependencies"]
    for dependency in dependencies:
        for weakness in dependency.get("vulns", ()):
            names = [weakness["id"], *weakness.get("aliases", ())]
            what = f"{dependency['name']} {dependency['version']}: {', '.join(names)}"
            reason = next((ignored[name] for name in names if name in ignored), None)
            if reason is not None:
                said.append(f"{what}: left alone: {reason}")
                continue
            well = False
            fixed = ", ".join(weakness.get("fix_versions") or ()) or "none yet"
            said.append(f"{what}: fixed in: {fixed}")
    unknown = [dependency for dependency in dependencies if "skip_reason" in dependency]
    if len(unknown) == len(dependencies):
        said.append("NOT AUDITED: no advisory service could be asked about any package")
    elif unknown:
        missed = ", ".join(sorted(dependency["name"] for dependency in unknown))
        said.append(f"not audited, since the service does not know them: {missed}")
    else:
        said.append(f"{len(dependencies)} packages were audited")
    return said, well


def ignored_by(pyproject: Path) -> Mapping[str, str]:
    """Return the weaknesses that are left alone, each with its reason."""
    found = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {}).get("audit", {}).get("ignore", {})
    for name, reason in found.items():
        if not isinstance(reason, str) or not reason.strip():
            raise SystemExit(f"audit: {pyproject.name}: tool.audit.ignore.{name} needs a reason")
    return dict(found)


def main(command: Sequence[str] = COMMAND, pyproject: Path = PYPROJECT, patience: float = PATIENCE) -> int:
    """Run the audit, say what came of it, and return the exit status."""
    ignored = ignored_by(pyproject)
    try:
        done = subprocess.run(
            [*command, "--timeout", str(TIMEOUT)], capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return _say(["NOT AUDITED: no advisory service has answered in time"], well=True)
    except OSError as error:
        return _say([f"pip-audit cannot be run: {error.strerror}"], well=False)
    try:
        report = json.loads(done.stdout)
        said, well = judge(report, ignored)
    except (ValueError, KeyError, TypeError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        if any(sign in done.stderr for sign in OFFLINE):
            return _say([f"NOT AUDITED: no advisory service could be asked: {lines[-1][:200]}"], well=True)
        return _say([f"pip-audit has failed: {lines[-1][:200]}"], well=False)
    return _say(said, well=well)


def _say(lines: Sequence[str], *, well: bool) -> int:
    for line in lines:
        sys.stdout.write(f"audit: {line}\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
