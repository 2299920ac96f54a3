"""Taskmaster: JSON and base64, ended by two semicolons."""

import base64
import json

from tests.dialects.conformance.wire import Answer, Wire


class TaskmasterWire(Wire):
    name = "taskmaster"
    waits = False
    authenticates = False

    def send(self, action: str, job: str) -> None:
        query = {"cmd": action, "job": base64.b64encode(job.encode()).decode(), "data": ""}
        self.writer.write(json.dumps(query).encode() + b";;")

    def send_nonsense(self) -> None:
        self.writer.write(b'{"cmd":"start";;')

    async def receive(self) -> Answer:
        answer = json.loads((await self.reader.readuntil(b";;"))[:-2])
        return Answer(answer["response"], base64.b64decode(answer["error"]).decode())
