"""How many denials of one caller are written down.

Whoever may connect can ask for what he may not have, thousands of times a second.  The audit
log forgets its oldest entries when it is full, so a caller without any right could wash out
what others did.  Each caller therefore has a budget of denials; it is large enough for every
honest mistake, and comes back slowly.  What exceeds it is one line in the daemon's log.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from ctld.peer import Peer

__all__ = ["BURST", "MAX_CALLERS", "SECONDS_PER_DENIAL", "DenialBudget"]

logger = logging.getLogger("ctld.commands")

# A script that is wrong a thousand times in a row is still seen whole.
BURST: Final = 1000

# 8,640 a day: a stranger needs weeks to fill a log of the default size, and is seen meanwhile.
SECONDS_PER_DENIAL: Final = 10.0

# Callers cannot choose their uid; beyond so many different ones everybody begins anew.
MAX_CALLERS: Final = 4096


class DenialBudget:
    """Decides whether one more denial of a caller is written down.

    Args:
        clock: A monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each caller: what is left, when that was, and whether he has been reported.
        self._left: dict[object, tuple[float, float, bool]] = {}

    def admits(self, peer: Peer) -> bool:
        """Tell whether a denial of this caller is written down, and count it."""
        # Without a uid, only a certificate's name tells one caller from another.
        caller: object = peer.uid if peer.uid is not None else (peer.transport, peer.name)
        now = self._clock()
        if len(self._left) >= MAX_CALLERS and caller not in self._left:
            self._left.clear()
        left, since, reported = self._left.get(caller, (float(BURST), now, False))
        left = min(left + (now - since) / SECONDS_PER_DENIAL, float(BURST))
        if left >= 1:
            self._left[caller] = (left - 1, now, False)
            return True
        self._left[caller] = (left, now, True)
        if not reported:
            logger.warning("! %s is denied so often that the history leaves it out for now", peer)
        return False
