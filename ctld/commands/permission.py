"""What becomes of a caller who may not: the one place that words a denial."""

from ctld.commands.runtime import Runtime
from ctld.errors import Denied
from ctld.peer import Peer, Role

__all__ = ["denial", "require_role"]


def require_role(runtime: Runtime, peer: Peer, role: Role, what: str) -> None:
    """Refuse a peer that does not have a role.

    Raises:
        Denied: The peer may not; the error names the role and how to get it.
    """
    if not runtime.policy.decide(peer, role).allowed:
        raise denial(runtime, peer, role, what)


def denial(runtime: Runtime, peer: Peer, role: Role, what: str) -> Denied:
    """Return the error that tells a peer which role it lacks, and what to do about it (N3)."""
    decision = runtime.policy.decide(peer, role)
    return Denied(
        f"{what} needs the role {role}, and you have {decision.role}: {decision.remedy}",
        role=role,
        remedy=decision.remedy,
    )
