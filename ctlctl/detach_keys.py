"""The keys that leave a session running: looked for on this side, never by the daemon."""

from __future__ import annotations

__all__ = ["DetachKeys"]


class DetachKeys:
    """Looks for a sequence of keys in what is typed.

    Args:
        sequence: The sequence; empty: there is none.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what of the typed is for the program, and whether the sequence is complete.

        The beginning of the sequence is held back until it is known whether the rest follows.
        """
        if not self._sequence:
            return typed, False
        data = self._held + typed
        position = data.find(self._sequence)
        if position >= 0:
            self._held = b""
            return data[:position], True
        keep = next(size for size in range(len(self._sequence) - 1, -1, -1) if data.endswith(self._sequence[:size]))
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep], False
