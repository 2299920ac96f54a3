"""What is said of a failure on a wire without fields."""

import pytest

from ctld.dialects.sentence import sentence_of
from ctld.wire.messages import Failure


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (Failure("internal error", "internal", {"ref": "12ab"}), "internal error (reference 12ab)"),
        (Failure("internal error", "internal"), "internal error"),
        (Failure("internal error", "internal", {"ref": 5}), "internal error"),
        (Failure("no such branch", "git.ref", {"ref": "main"}), "no such branch"),  # a command's own
        (Failure("", "failed"), ""),
    ],
)
def test_only_an_internal_error_has_more_than_its_message(failure, sentence):
    assert sentence_of(failure) == sentence
