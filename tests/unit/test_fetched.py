"""What was fetched is never fetched again, whatever a killed writer left behind."""

import os
import random
import subprocess
import sys
import time

import pytest

from mergetrace.hub.fetched import Fetched

DATA = random.Random(0).randbytes(10_000)


def add(fetched: Fetched, shard: str, start: int, length: int) -> None:
    for name, first, size in list(fetched.missing((shard, start, length))):
        fetched.add((name, first, size), DATA[first : first + size])


def test_ranges_may_touch_overlap_and_hold_each_other(tmp_path):
    generator = random.Random(1)
    with Fetched(tmp_path, "c") as fetched:
        for _ in range(300):
            start = generator.randrange(9_000)
            wanted = ("a", start, generator.randrange(1, 1000))
            add(fetched, *wanted)
            assert not list(fetched.missing(wanted))
            assert fetched.read(wanted) == DATA[start : start + wanted[2]]
    assert (tmp_path / "c.bin").stat().st_size <= len(DATA)
    with Fetched(tmp_path, "c") as fetched:
        assert fetched.read(wanted) == DATA[start : start + wanted[2]]
        assert list(fetched.missing(("b", 0, 10))) == [("b", 0, 10)]


def test_another_commit_begins_anew(tmp_path):
    with Fetched(tmp_path, "c") as fetched:
        add(fetched, "a", 0, 100)
    with Fetched(tmp_path, "d") as fetched:
        assert list(fetched.missing(("a", 0, 100))) == [("a", 0, 100)]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_half_a_line_and_bytes_without_one_are_passed_over(tmp_path, cut):
    with Fetched(tmp_path, "c") as fetched:
        add(fetched, "a", 0, 100)
        add(fetched, "a", 500, 100)
    lines = tmp_path / "c.jsonl"
    os.truncate(lines, lines.stat().st_size - cut)
    for _ in range(2):
        with Fetched(tmp_path, "c") as fetched:
            assert list(fetched.missing(("a", 0, 100))) == []
            add(fetched, "a", 500, 100)
            assert fetched.read(("a", 500, 100)) == DATA[500:600]


def test_bytes_that_are_not_what_their_line_says_are_fetched_again(tmp_path):
    with Fetched(tmp_path, "c") as fetched:
        add(fetched, "a", 0, 100)
    (tmp_path / "c.bin").write_bytes(bytes(100))
    (tmp_path / "c.jsonl").write_text(
        (tmp_path / "c.jsonl").read_text() + "no json\n{}\n"
    )
    with Fetched(tmp_path, "c") as fetched:
        add(fetched, "a", 0, 100)
        assert fetched.read(("a", 0, 100)) == DATA[:100]


def test_what_is_missing_cannot_be_read(tmp_path):
    with Fetched(tmp_path, "c") as fetched:
        add(fetched, "a", 0, 100)
        with pytest.raises(ValueError, match="50 of 100 bytes of a are missing"):
            fetched.read(("a", 50, 100))


@pytest.mark.slow
def test_one_writer_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mergetrace.hub.fetched import"
        " Fetched; Fetched(Path(sys.argv[1]), 'c')"
    )
    with Fetched(tmp_path, "c"):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        time.sleep(1)
        assert other.poll() is None
    assert other.wait(30) == 0
