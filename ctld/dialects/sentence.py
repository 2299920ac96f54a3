"""What a failure says to people, on a wire that has a sentence and no fields (docs/reference/dialects.md, D4)."""

from ctld.wire.messages import Failure

__all__ = ["sentence_of"]


def sentence_of(failure: Failure) -> str:
    """Return the message; of an internal error with what finds its traceback in the log."""
    reference = failure.fields.get("ref")
    if failure.code == "internal" and isinstance(reference, str):
        return f"{failure.message} (reference {reference})"
    return failure.message
