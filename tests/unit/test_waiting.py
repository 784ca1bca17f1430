"""How long a server asks to wait, in whatever form it says so."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mergetrace.hub.waiting import requested_wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"ratelimit": '"api";r=0;t=42'}, 42.0),
        ({"retry-after": "soon", "ratelimit": "limit=10, t=7"}, 7.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_seconds_are_read_from_either_header(headers, seconds):
    assert requested_wait(headers) == seconds


def test_a_date_is_the_time_until_then_and_never_negative():
    now = datetime.now(UTC)
    later = format_datetime(now + timedelta(seconds=100), usegmt=True)
    earlier = format_datetime(now - timedelta(seconds=100), usegmt=True)
    assert 90 < requested_wait({"retry-after": later}) <= 100
    assert requested_wait({"retry-after": earlier}) == 0
