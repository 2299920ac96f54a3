"""A guest agent's command monitor: one JSON object each way, ended by nothing."""

import json

from tests.dialects.conformance.wire import Answer, Wire


class GuestAgentWire(Wire):
    name = "guest-agent"

    def send(self, action: str, job: str) -> None:
        self.writer.write(json.dumps({"Command": f"job.{action}", "name": job}).encode())

    def send_nonsense(self) -> None:
        self.writer.write(b'{"Command": "job.start"')
        self.writer.write_eof()  # only then can the daemon tell

    async def receive(self) -> Answer:
        answer = json.loads(await self.reader.read())
        return Answer(str(answer["Status"]), answer["StatusMessage"])
