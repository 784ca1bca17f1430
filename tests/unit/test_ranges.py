"""Whatever goes wrong on the way, a range is right or refused with one line. The table
of faults is `FAULTS`.
"""

import os
import time

import httpx
import pytest

from mergetrace.errors import AuditError
from mergetrace.hub.meter import Meter
from mergetrace.hub.ranges import RangeReader
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo
from mergetrace.testing.hubserver.faulty_reads import (
    DATA,
    FAULTS,
    NAME,
    QUICK,
    RECOVERED,
    TOKEN,
    reader,
)


@pytest.fixture
def hub():
    with Hub(
        {"o/m": Repo({NAME: InMemory(DATA), "config.json": InMemory(b"{}")})}
    ) as hub:
        yield hub


@pytest.mark.parametrize("what", FAULTS)
def test_every_fault_is_recovered_from_or_refused(hub, what):
    hub.faults = [Fault(**vars(fault)) for fault in FAULTS[what][0]]
    expected = FAULTS[what][1]
    with reader(hub) as files:
        if expected is RECOVERED:
            assert files.read(NAME, 1000, 2000) == DATA[1000:3000]
            return
        with pytest.raises(AuditError) as refused:
            files.read(NAME, 1000, 2000)
    message = str(refused.value)
    assert expected in message
    assert message.startswith("o/m@")
    assert "\n" not in message
    assert TOKEN not in message
    assert "signed/" not in message
    assert "Signature" not in message


def test_one_question_per_file_and_no_token_for_the_storage(hub):
    with reader(hub) as files:
        wanted = [(NAME, start, 1000) for start in range(0, 200_000, 1000)]
        found = dict(files.read_many(wanted))
    assert all(
        found[name, start, length] == DATA[start : start + length]
        for name, start, length in wanted
    )
    assert len(hub.requests("resolve")) == 1
    assert len(hub.requests("storage")) == 200
    assert {seen.token for seen in hub.requests("resolve")} == {TOKEN}
    assert {seen.token for seen in hub.requests("storage")} == {None}
    assert files.requests == 201
    assert files.bytes_read == 200_000


def test_what_the_endpoint_holds_itself_is_read_there(hub):
    with reader(hub) as files:
        assert files.read("config.json", 0, 2) == b"{}"
    assert [seen.token for seen in hub.requests("resolve", "config.json")] == [
        TOKEN,
        TOKEN,
    ]


def test_all_addresses_expire_under_a_busy_reader(hub):
    with reader(hub) as files:
        for number, ((_, start, length), data) in enumerate(
            files.read_many([(NAME, start, 500) for start in range(0, 100_000, 500)])
        ):
            assert data == DATA[start : start + length]
            if number == 50:
                hub.expire()


def test_a_stream_goes_on_where_it_was_cut(hub):
    hub.faults = [Fault("cut", skip=0), Fault("cut", skip=1)]
    with reader(hub) as files:
        assert b"".join(files.stream(NAME, 0, len(DATA))) == DATA
    ranges = [seen.range for seen in hub.requests("storage")]
    assert ranges[0] == (0, 300_000)
    assert ranges[1][0] == 150_000
    assert files.bytes_read == len(DATA)


def test_a_renamed_repository_is_followed_at_the_same_commit(hub):
    hub.repos["o/old"] = Repo({}, renamed_to="o/m")
    with reader(hub) as files:
        files.repo = "o/old"
        assert files.read(NAME, 5, 5) == DATA[5:10]


def test_a_branch_that_moves_changes_nothing(hub):
    with reader(hub) as files:
        assert files.read(NAME, 0, 100) == DATA[:100]
        hub.repos["o/m"].push({NAME: InMemory(bytes(300_000))})
        hub.expire()
        assert files.read(NAME, 100, 100) == DATA[100:200]


def test_a_file_that_shrank_is_refused(hub):
    with reader(hub) as files:
        hub.repos["o/m"].files[NAME].data = DATA[:1000]
        with pytest.raises(
            AuditError, match="'1000' bytes now, 300000 when it was listed"
        ):
            files.read(NAME, 2000, 100)


def test_gated_without_leave(hub):
    hub.repos["o/m"].gated = True
    with (
        reader(hub) as files,
        pytest.raises(
            AuditError,
            match=(
                "refused \\(403\\); for a gated or private repository accept its terms"
            ),
        ),
    ):
        files.read(NAME, 0, 10)
    hub.repos["o/m"].tokens = frozenset({TOKEN})
    with reader(hub) as files:
        assert files.read(NAME, 0, 10) == DATA[:10]


@pytest.mark.parametrize(
    "name", ["../config.json", "/etc/passwd", "a/b", ".hidden", "a\\b", "a\0b", ""]
)
def test_names_that_are_paths_are_not_asked_for(hub, name):
    with reader(hub) as files:
        files.sizes[name] = 100
        with pytest.raises(AuditError, match="is not the name of a file in"):
            files.read(name, 0, 10)
    assert not hub.seen


@pytest.mark.parametrize(
    "name", ["a b?c#d%2e.safetensors", "模型.safetensors", "a\n.safetensors"]
)
def test_odd_names_are_asked_for_as_they_are(hub, name):
    hub.repos["o/m"].history[hub.repos["o/m"].commit][name] = InMemory(DATA)
    with reader(hub) as files:
        files.sizes[name] = len(DATA)
        assert files.read(name, 7, 7) == DATA[7:14]
        hub.faults = [Fault("503", times=99)]
        with pytest.raises(AuditError) as refused:
            files.read(name, 0, 1)
        assert "\n" not in str(refused.value)


def test_a_range_outside_the_file_is_not_asked_for(hub):
    with (
        reader(hub) as files,
        pytest.raises(AuditError, match="of a file of 300000 bytes"),
    ):
        files.read(NAME, 299_999, 2)


def test_one_wait_holds_everybody(hub):
    hub.faults = [Fault("429", wait=0.5, skip=4)]
    with reader(hub) as files:
        before = time.monotonic()
        list(files.read_many([(NAME, start, 10) for start in range(0, 400, 10)]))
        assert time.monotonic() - before >= 0.5


def test_the_meter_says_rate_and_time_left():
    now = [0.0]
    meter = Meter(100_000_000, clock=lambda: now[0])
    now[0] = 5.0
    assert meter.add(10_000_000) is None
    now[0] = 20.0
    assert meter.add(10_000_000) == "20.0 of 100.0 MB, 1.00 MB/s, 80 s left"


def test_a_server_that_is_not_there():
    with (
        RangeReader(
            "http://127.0.0.1:9", "o/m", "0" * 40, {NAME: 10}, {}, 1, QUICK
        ) as files,
        pytest.raises(AuditError, match="no connection"),
    ):
        files.read(NAME, 0, 10)


def test_httpx_is_the_client_and_asks_for_no_compression(hub):
    assert httpx.__version__
    hub.repos["o/m"].files[NAME].data = os.urandom(300_000)
    with reader(hub) as files:
        assert files.read(NAME, 0, 300_000) == hub.repos["o/m"].files[NAME].data
