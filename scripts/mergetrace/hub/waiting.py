"""How long a server asks its clients to wait before the next request."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_RESET = re.compile(r"\bt=(\d{1,9}(?:\.\d{1,9})?)\b")


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds a server asks to wait before the next request, None where it asks for
    nothing that can be understood.

    headers: of a reply, with lower-case names or in a mapping that ignores case. The
    header Retry-After counts (RFC 9110, section 10.2.3: seconds or a date), else the
    time `t` until the quota of the header RateLimit is renewed.
    """
    retry_after = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(retry_after):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, TypeError, OverflowError):
        reset = _RESET.search(headers.get("ratelimit", ""))
        return float(reset[1]) if reset else None
    return max(0.0, moment - time.time())
