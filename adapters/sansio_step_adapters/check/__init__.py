"""Is this a good Messages stream? Findings as data, for a vendor's own tests.

    from sansio_step_adapters.check import check_server, failing

    def test_our_endpoint():
        findings = check_server("http://127.0.0.1:8000", model="ours")
        assert failing(findings, allow=["no_request_id"]) == []

`check_capture` reads a file in any form that it was saved in, `check_body` the bytes at hand, `check_server` asks. Of a
recording and a server the head and the times count, too. Only `check_server` needs the extra `anyio`. What each code
means, who sends it and how it is read stands in `docs/deviations.md`. `sansio-step check` is a view of this.
"""

from ._capture import CaptureCheck, check_body, check_capture
from ._codes import CODES, Severity, check_codes
from ._findings import Finding, failing
from ._server import ServerCheck, check_server
from ._times import Limits

__all__ = [
    "CODES",
    "CaptureCheck",
    "Finding",
    "Limits",
    "ServerCheck",
    "Severity",
    "check_body",
    "check_capture",
    "check_codes",
    "check_server",
    "failing",
]
