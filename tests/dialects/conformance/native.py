"""The native protocol: JSON lines."""

import json

from tests.dialects.conformance.wire import Answer, Wire


class NativeWire(Wire):
    name = "native"

    def send(self, action: str, job: str) -> None:
        self.writer.write(json.dumps({"cmd": f"job_{action}", "opts": {"name": job}}).encode() + b"\n")

    def send_nonsense(self) -> None:
        self.writer.write(b'{"cmd": "job_start"\n')

    async def receive(self) -> Answer:
        progress = 0
        while line := await self.reader.readline():
            message = json.loads(line)
            if "progress" in message:
                progress += 1
            elif message.get("status") is True:
                return Answer("response", "", progress)
            elif "status" in message:
                return Answer(message["code"], message["message"], progress)
        return Answer("")
