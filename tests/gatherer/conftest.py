from collections.abc import Callable, Iterator

import pytest

from tests.gatherer.driver import Driver


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(*options: str, **popen: object) -> Driver:
        drivers.append(Driver(*options, **popen))  # type: ignore[arg-type]  # open keywords
        return drivers[-1].ready()

    yield start
    for driver in drivers:
        driver.close()


@pytest.fixture
def ask(drive: Callable[..., Driver]) -> Callable[..., bytes]:
    """Send one request and return what it returned."""

    def request(*lines: bytes, options: tuple[str, ...] = ()) -> bytes:
        driver = drive(*options)
        driver.send(b"".join(line + b"\n" for line in lines) + b"exit\n")
        out, err, status = driver.end()
        assert (err, status) == (b"", 0), (out, err, status)
        assert out.startswith(b"#0#\n")
        assert out.endswith(b"#1#\n")
        return out[4:-4]

    return request
