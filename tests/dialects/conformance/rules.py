"""The rules by which a dialect degrades what it cannot express: the headings of docs/reference/dialects.md."""

from enum import Enum


class Rule(Enum):
    NO_PROGRESS = "D1: progress is dropped"
    NO_WAITING = "D2: nothing is waited for"
    NO_RESULT = "D3: a result is only that it is done"
    FEW_WORDS = "D4: the sentence stays, the slug becomes a word of the wire"
    NO_IDENTITY = "D5: who asks is the listener's affair"
    NO_OPTIONS = "D6: the action says everything"
    ONE_REQUEST = "D7: one connection, one request, one answer"
    TIME_LIMIT = "D8: an answer that comes too late is lost"
    NO_REQUEST = "D9: what is no request is answered and leaves no trace"
    LATER = "D10: later is another command"

    @property
    def id(self) -> str:
        return self.value.partition(":")[0]
