"""What reading the job files again would do, and in which order jobs start and stop: pure."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from ctld.jobs.jobfile import InvalidJobFile, JobSpec

__all__ = ["Change", "ChangeKind", "Plan", "exec_digest_input", "find_cycles", "make_plan", "stop_levels"]

ChangeKind: TypeAlias = Literal["added", "changed", "removed", "unchanged", "invalid"]

# What a running process has been given at its start; everything else changes under it without a restart.
_GIVEN_AT_START = (
    "command",
    "processes",
    "stdout",
    "stderr",
    "env",
    "directory",
    "umask",
    "tty",
    "user",
    "group",
    "limits",
)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one job.

    Attributes:
        name: The job.
        kind: What happens.
        keys: Which of its settings differ.
        restart: Whether its processes have to be restarted for it.
        reason: What is wrong with an invalid one, which is left as it is.
    """

    name: str
    kind: ChangeKind
    keys: tuple[str, ...] = ()
    restart: bool = False
    reason: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What happens to each job, sorted by name."""

    changes: tuple[Change, ...] = ()

    def names(self, kind: ChangeKind) -> list[str]:
        """Return the jobs to which that happens."""
        return [change.name for change in self.changes if change.kind == kind]


def make_plan(
    loaded: Mapping[str, JobSpec], found: Mapping[str, JobSpec | InvalidJobFile], *, remove_missing: bool
) -> Plan:
    """Compare what is loaded with what the files say.

    Args:
        loaded: The jobs as they are.
        found: The jobs as their files say, or what is wrong with a file.
        remove_missing: Whether a job whose file is gone is removed, or left alone.
    """
    valid = {name: spec for name, spec in found.items() if isinstance(spec, JobSpec)}
    cycles = find_cycles({**loaded, **valid})
    changes = []
    for name in sorted({*loaded, *found}):
        spec = found.get(name)
        if isinstance(spec, InvalidJobFile):
            changes.append(Change(name=name, kind="invalid", reason=spec.message))
        elif spec is not None and spec != loaded.get(name) and name in cycles:
            reason = f"dependsOn: {' -> '.join(cycles[name])}"
            changes.append(Change(name=name, kind="invalid", reason=reason))
        elif spec is not None:
            changes.append(_compare(name, loaded.get(name), spec))
        elif remove_missing:
            changes.append(Change(name=name, kind="removed", restart=True))
        else:
            changes.append(Change(name=name, kind="unchanged"))
    return Plan(tuple(changes))


def exec_digest_input(spec: JobSpec) -> bytes:
    """Return what a process has been given at its start, as bytes to be hashed; the number of its siblings is not."""
    given = {key: getattr(spec, key) for key in _GIVEN_AT_START if key != "processes"}
    given["limits"] = sorted(spec.limits.items())  # an order of numbers is not JSON's affair
    return msgspec.json.encode(given, order="deterministic")


def find_cycles(specs: Mapping[str, JobSpec]) -> dict[str, tuple[str, ...]]:
    """Return, for each job that depends on itself, the way around, with both ends."""
    return {name: way for name in specs if (way := _way_back(name, specs)) is not None}


def stop_levels(specs: Mapping[str, JobSpec]) -> list[list[str]]:
    """Return the jobs in the order to stop them: nobody stops before those who depend on it have."""
    left = dict(specs)
    levels = []
    while left:
        needed = {name for spec in left.values() for name in spec.depends_on}
        # In a cycle everybody is needed: then all go at once.
        level = sorted(left.keys() - needed) or sorted(left)
        levels.append(level)
        for name in level:
            del left[name]
    return levels


def _compare(name: str, old: JobSpec | None, new: JobSpec) -> Change:
    if old is None:
        return Change(name=name, kind="added")
    keys = tuple(key for key in JobSpec.__struct_fields__ if getattr(old, key) != getattr(new, key))
    if not keys:
        return Change(name=name, kind="unchanged")
    return Change(name=name, kind="changed", keys=keys, restart=any(key in _GIVEN_AT_START for key in keys))


def _way_back(start: str, specs: Mapping[str, JobSpec]) -> tuple[str, ...] | None:
    seen: set[str] = set()
    ways: list[tuple[str, ...]] = [(start,)]
    while ways:
        way = ways.pop()
        for name in _dependencies(way[-1], specs):
            if name == start:
                return (*way, name)
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return None


def _dependencies(name: str, specs: Mapping[str, JobSpec]) -> Iterable[str]:
    return specs[name].depends_on if name in specs else ()
