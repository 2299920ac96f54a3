"""A clock that stands still until a test moves it."""


class Clock:
    """What is called for the time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
