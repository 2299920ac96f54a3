"""One shell command with both of its outputs, in a session of its own.

The command is over when the shell has ended and nobody holds its outputs any more.  Until
then the shell is not reaped: its process id, which is also its group's, cannot go to
somebody else, so killing the group hits nobody innocent.
"""

import os
import signal

from ctld.gatherer.interrupts import CHANGED_SIGNALS

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from typing import Final

    from ctld.gatherer.interrupts import Interrupts

__all__ = ["NOT_STARTED", "execute"]

NOT_STARTED: "Final" = 127
"""The status of a command that could not be started, as a shell has it."""

_CHUNK: "Final" = 64 * 1024  # what a pipe holds


def execute(line: bytes, interrupts: "Interrupts", max_output: "int | None" = None) -> tuple[int, bytes, bytes]:
    """Run a line by `/bin/sh` and wait for its end.

    Args:
        line: The command line.
        interrupts: Where SIGINT shows.
        max_output: How many bytes each output may have; a command with more is killed, with its group.

    Returns:
        Its exit status, or minus the signal that killed it; its standard output; its standard error.

    Raises:
        Interrupted: SIGINT came; the command's group is dead.
    """
    interrupts.check()
    outputs: dict[int, bytearray] = {}
    try:
        try:
            shell, *ends = _start(line)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the line
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return NOT_STARTED, b"", f"gatherer: {reason}\n".encode()
        outputs = {end: bytearray() for end in ends}
        try:
            _collect(shell, outputs, interrupts, max_output)
        except BaseException:
            _kill(shell)
            raise
        finally:
            _, status = os.waitpid(shell, 0)
        output, errors = outputs.values()
        return os.waitstatus_to_exitcode(status), bytes(output[:max_output]), bytes(errors[:max_output])
    finally:
        for end in outputs:
            os.close(end)


def _start(line: bytes) -> tuple[int, int, int]:
    """Start the shell; return its process id and the ends where its outputs can be read."""
    opened: list[int] = []
    try:
        opened += os.pipe()
        opened += os.pipe()
        output, output_in, errors, errors_in = opened
        shell = os.posix_spawn(
            "/bin/sh",
            [b"sh", b"-c", line],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output_in, 1),
                (os.POSIX_SPAWN_DUP2, errors_in, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=CHANGED_SIGNALS,
        )
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    os.close(output_in)
    os.close(errors_in)
    return shell, output, errors


def _collect(shell: int, outputs: dict[int, bytearray], interrupts: "Interrupts", max_output: "int | None") -> None:
    """Read both outputs to their end, and wait for the shell's."""
    reading = set(outputs)
    while reading or not _has_ended(shell):
        for descriptor in interrupts.wait(*reading):
            piece = os.read(descriptor, _CHUNK)
            outputs[descriptor] += piece
            if not piece:
                reading.remove(descriptor)
        interrupts.check()
        if max_output is not None and any(len(output) > max_output for output in outputs.values()):
            _kill(shell)
            return  # who left the group may hold the outputs for ever: what was read is all there will be


def _kill(shell: int) -> None:
    try:
        os.killpg(shell, signal.SIGKILL)
    except PermissionError:
        return  # all of them run as somebody else, by set-uid: whoever drives us loses patience in the end


def _has_ended(shell: int) -> bool:
    """Tell whether the shell has ended, and leave it unreaped."""
    return os.waitid(os.P_PID, shell, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
