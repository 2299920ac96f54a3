"""`packaging/audit.py`: what it makes of what pip-audit says, and of its silence."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

spec = importlib.util.spec_from_file_location("audit", ROOT / "packaging/audit.py")
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

WEAK = {
    "name": "flask",
    "version": "0.5",
    "vulns": [{"id": "PYSEC-2099-1", "aliases": ["CVE-2099-1"], "fix_versions": ["1.0", "0.6.1"], "description": "x"}],
}
FINE = {"name": "rich", "version": "14.0", "vulns": []}
UNKNOWN = {"name": "mine", "skip_reason": "Dependency not found on PyPI and could not be audited: mine (1.0)"}


@pytest.fixture
def run(tmp_path, capfd):
    """Run the audit with a program in the place of pip-audit; return its status and what it said."""

    def run(stdout="", stderr="", status=0, ignored="", program=None, patience=30.0):
        pyproject = tmp_path / "pyproject.toml"
        pyproject.write_text(f"[tool.audit.ignore]\n{ignored}\n")
        code = f"import sys; sys.stdout.write({stdout!r}); sys.stderr.write({stderr!r}); sys.exit({status})"
        command = [sys.executable, "-c", program or code]
        return audit.main(command, pyproject, patience), capfd.readouterr().out

    return run


def report(*dependencies):
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_what_is_known_to_be_weak_fails(run):
    status, said = run(report(FINE, WEAK), "Found 1 known vulnerability in 1 package", 1)
    assert status == 1
    assert "audit: flask 0.5: PYSEC-2099-1, CVE-2099-1: fixed in: 1.0, 0.6.1\n" in said


def test_what_does_not_concern_us_is_told_with_its_reason(run):
    for name in ("PYSEC-2099-1", "CVE-2099-1"):
        status, said = run(report(FINE, WEAK), status=1, ignored=f'{name} = "we serve nothing"')
        assert status == 0
        assert "left alone: we serve nothing" in said


def test_a_reason_has_to_be_given(run):
    with pytest.raises(SystemExit, match="needs a reason"):
        run(report(FINE), ignored='PYSEC-2099-1 = " "')


def test_all_is_well(run):
    assert run(report(FINE)) == (0, "audit: 1 packages were audited\n")


def test_what_the_service_does_not_know_is_told(run):
    assert run(report(FINE, UNKNOWN)) == (0, "audit: not audited, since the service does not know them: mine\n")


@pytest.mark.parametrize("dependencies", [[], [UNKNOWN, UNKNOWN]])
def test_nothing_known_is_no_all_clear_and_no_failure(run, dependencies):
    status, said = run(report(*dependencies))
    assert status == 0
    assert "NOT AUDITED" in said


@pytest.mark.parametrize(
    "stderr",
    [
        "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "requests.exceptions.ReadTimeout: Read timed out. (read timeout=15)",
    ],
)
def test_without_a_network_it_says_so_and_does_not_fail(run, stderr):
    status, said = run("", f"Traceback\n{stderr}\n", 1)
    assert status == 0
    assert "NOT AUDITED" in said
    assert stderr in said


def test_a_service_that_does_not_answer_is_no_failure(run):
    status, said = run(program="import time; time.sleep(60)", patience=0.3)
    assert (status, "NOT AUDITED" in said) == (0, True)


@pytest.mark.parametrize("stdout", ["", "[]", '{"dependencies": [{"vulns": [{}]}]}', "junk"])
def test_a_broken_tool_fails(run, stdout):
    status, said = run(stdout, "Traceback\nTypeError: a defect\n", 1)
    assert (status, said) == (1, "audit: pip-audit has failed: TypeError: a defect\n")


def test_a_missing_tool_fails(tmp_path, capfd):
    (tmp_path / "pyproject.toml").touch()
    assert audit.main([str(tmp_path / "none")], tmp_path / "pyproject.toml") == 1
    assert "pip-audit cannot be run" in capfd.readouterr().out


def test_every_exception_of_the_linters_has_its_reason():
    """In pyproject.toml a comment in the line, in the code what follows `nosec ID #`."""
    skips = re.search(r"\[tool\.bandit\]\nskips = \[\n(.*?)\n\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert skips is not None
    assert all(re.fullmatch(r' +"B\d+", # \S.+', line) for line in skips[1].splitlines())
    for path in [*(ROOT / "ctld").rglob("*.py"), *(ROOT / "ctlctl").rglob("*.py"), *(ROOT / "packaging").glob("*.py")]:
        for line in path.read_text().splitlines():
            if "nosec" in line:
                assert re.search(r"# nosec B\d+ # (noqa: S\d+ - )?\S+ \S+", line), f"{path}: {line}"
