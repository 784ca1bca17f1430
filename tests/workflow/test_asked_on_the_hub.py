"""An ordinary user's audit of models on the Hub, weights and probe: three repositories
with a tokenizer and a chat template, from nothing to a report.
"""

import pytest

from benchmarks.hub.asked import audit_trio
from mergetrace.testing.half_billion import HALF_BILLION, SMALL


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(SMALL, marks=pytest.mark.thorough, id="small"),
        pytest.param(HALF_BILLION, marks=pytest.mark.real, id="half a billion"),
    ],
)
def test_repositories_are_audited_and_asked_within_the_stated_disk(size, tmp_path):
    lines: list[str] = []
    audit_trio(tmp_path, size, lines.append)
    assert "| answers in the report | 24 |" in lines
