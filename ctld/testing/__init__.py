"""For authors of daemons and dialects: commands under test, with a server and without one.

Nothing of ctld imports this, and it needs no test framework; the pytest plugin in
`ctld.testing.plugin` does.
"""

from ctld.testing.conformance import check_codec, check_garbage
from ctld.testing.direct import RecordingContext, context
from ctld.testing.live import serving

__all__ = ["RecordingContext", "check_codec", "check_garbage", "context", "serving"]
