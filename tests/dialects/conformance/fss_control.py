"""FSS control: one packet each way."""

import struct

from tests.dialects.conformance.wire import Answer, Wire


class FssWire(Wire):
    name = "fss-control"

    def send(self, action: str, job: str) -> None:
        directory, _, name = job.rpartition("/")
        payload = f"header:\ntype controller\naction {action} {directory} {name}\nlength 0\npayload:\n".encode()
        self.writer.write(struct.pack(">BI", 0x80, 5 + len(payload)) + payload)

    def send_nonsense(self) -> None:
        self.writer.write(b"\x81\0\0\0\x05")

    async def receive(self) -> Answer:
        control, size = struct.unpack(">BI", await self.reader.readexactly(5))
        assert control == 0x80
        answer = await self.reader.read()
        assert len(answer) == size - 5
        header, _, content = answer.decode().partition("payload:\n")
        words = dict(line.strip().split(" ", 1) for line in header.splitlines()[1:])
        return Answer(f"{words['type']} {words['status']}", content)
