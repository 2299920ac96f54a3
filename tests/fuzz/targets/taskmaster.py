"""Taskmaster's wire, both ends."""

from ctld.dialects.taskmaster.client import Base64Error, JsonError, read_response
from ctld.dialects.taskmaster.codec import Answer, TaskmasterCodec
from ctld.testing import check_garbage
from ctld.wire.messages import Failure, Invalid, Reply, Request
from tests.fuzz.targets.target import Target, further_cuts

__all__ = ["TARGETS"]


def fuzz_taskmaster(data: bytes) -> None:
    """Every query gets one answer, in the shape that it asked for, which Taskmaster's client understands."""
    for event in check_garbage(lambda: TaskmasterCodec(max_frame=256), data, also=further_cuts(data)):
        codec = TaskmasterCodec()
        if type(event) is Invalid:
            codec.send(Failure(event.message, event.code))
        else:
            job = event.opts["job"]
            codec.send(Reply(Answer(kind="file", data=event.opts["data"], job=job)))
        wire = codec.data_to_send()
        assert wire.count(b";;") == 1
        assert wire.endswith(b";;")
        response = read_response(wire.removesuffix(b";;"))
        assert response.kind == (
            "file" if type(event) is Request else "fail" if event.code == "job.name" else "invalid"
        )
        assert response.data == (event.opts["data"] if type(event) is Request else b"")


def fuzz_taskmaster_answers(data: bytes) -> None:
    """An answer is understood or refused by name; what the daemon says in either shape is what the client hears."""
    try:
        response = read_response(data)
    except (JsonError, Base64Error) as error:
        assert str(error).isprintable()
    else:
        assert all(isinstance(name, str) for name in response.names)
    names = tuple(name.decode("latin-1") for name in data.split(b"\n"))
    error = data.decode("utf-8", "replace")
    for key in ("cmd", "command"):
        for answer, heard in (
            (Answer(kind="list", names=names), ("list", "", names)),
            (Answer(kind="fail", error=error), ("fail", error, ())),
            (Answer(kind="status", data=data), ("status", "", ())),
        ):
            codec = TaskmasterCodec()
            codec.receive_data(b'{"%b":"x"};;' % key.encode())
            codec.next_event()
            codec.send(Reply(answer))
            response = read_response(codec.data_to_send().removesuffix(b";;"))
            assert (response.kind, response.error, response.names) == heard
            assert answer.kind != "status" or response.data == data


TARGETS = (
    Target("taskmaster", fuzz_taskmaster, max_size=512),
    Target("taskmaster_answers", fuzz_taskmaster_answers),
)
