"""A whole file is fetched, resumed and verified: the bytes that are kept are the Hub's,
or the file is named.
"""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from mergetrace.errors import AuditError
from mergetrace.hub.pinned import RemoteFile
from mergetrace.hub.ranges import Patience, RangeReader
from mergetrace.hub.shards import fetch, settle
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo, git_sha1

PIECE = 1 << 16
DATA = np.random.default_rng(0).bytes(5 * PIECE + 1234)
NAME = "model-00001-of-00001.safetensors"
LISTED = RemoteFile(len(DATA), hashlib.sha256(DATA).hexdigest(), None)


@pytest.fixture
def hub():
    with Hub({"o/m": Repo({NAME: InMemory(DATA)})}) as hub:
        yield hub


def get(hub, folder, file=LISTED, attempts=3):
    patience = Patience(attempts=attempts, stall_s=1, first_wait_s=0.01)
    with RangeReader(
        hub.endpoint, "o/m", hub.repos["o/m"].commit, {NAME: len(DATA)}, {}, 1, patience
    ) as reader:
        fetch(
            reader,
            NAME,
            file,
            folder / "00001.partial",
            folder / "00001.safetensors",
            PIECE,
        )
    return (folder / "00001.safetensors").read_bytes()


def test_a_file_is_fetched_in_pieces_and_verified(hub, tmp_path):
    assert get(hub, tmp_path) == DATA
    assert len(hub.requests("storage")) == 6
    assert (tmp_path / "00001.partial").samefile(
        tmp_path / "00001.safetensors"
    )  # until somebody reads it
    settle(tmp_path, [1, 2])
    assert [path.name for path in tmp_path.iterdir()] == ["00001.safetensors"]


def test_a_finished_file_that_snakemake_did_not_hear_of_is_not_fetched_again(
    hub, tmp_path
):
    get(hub, tmp_path)
    (
        tmp_path / "00001.safetensors"
    ).unlink()  # as Snakemake does with the output of a job that it did not see end
    before = len(hub.requests("storage"))
    assert get(hub, tmp_path) == DATA
    assert len(hub.requests("storage")) == before


@pytest.mark.parametrize("kept", [0, 1, PIECE - 1, PIECE, 3 * PIECE + 17, len(DATA)])
def test_what_is_there_is_kept_in_whole_pieces(hub, tmp_path, kept):
    (tmp_path / "00001.partial").write_bytes(DATA[:kept])
    assert get(hub, tmp_path) == DATA
    fetched = sum(seen.sent for seen in hub.requests("storage"))
    assert fetched == len(DATA) - (kept if kept == len(DATA) else kept // PIECE * PIECE)


def test_what_is_there_is_hashed_again(hub, tmp_path):
    damaged = bytearray(DATA[: 2 * PIECE])
    damaged[100] ^= 1
    (tmp_path / "00001.partial").write_bytes(damaged)
    with pytest.raises(AuditError, match=f"{NAME}: its hash is"):
        get(hub, tmp_path)
    assert get(hub, tmp_path) == DATA  # it was thrown away


@pytest.mark.parametrize("skip", range(6))
def test_one_flipped_bit_is_found_wherever_it_is(hub, tmp_path, skip):
    hub.faults = [Fault("flip", skip=skip)]
    with pytest.raises(
        AuditError, match=f"o/m@.*{NAME}: its hash is .* thrown away, run again"
    ):
        get(hub, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert get(hub, tmp_path) == DATA


def test_after_giving_up_the_next_run_goes_on(hub, tmp_path):
    hub.faults = [Fault("503", skip=3, times=2)]
    with pytest.raises(AuditError, match="could not be read in 2 attempts"):
        get(hub, tmp_path, attempts=2)
    assert (tmp_path / "00001.partial").stat().st_size == 3 * PIECE
    assert get(hub, tmp_path) == DATA
    assert sum(
        seen.sent for seen in hub.requests("storage") if seen.status == 206
    ) == len(DATA)


def test_files_outside_large_file_storage_have_gits_hash(hub, tmp_path):
    assert get(hub, tmp_path, RemoteFile(len(DATA), None, git_sha1(DATA))) == DATA
    with pytest.raises(AuditError, match="its hash is"):
        get(hub, tmp_path, RemoteFile(len(DATA), None, "0" * 40))


def test_two_processes_do_not_write_one_file(hub, tmp_path):
    holder = (
        "import fcntl, sys, time; h = open(sys.argv[1], 'ab'); fcntl.flock(h,"
        " fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "00001.partial")],
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        with pytest.raises(AuditError, match="another process is fetching this file"):
            get(hub, tmp_path)
        other.kill()
    assert get(hub, tmp_path) == DATA


def test_too_small_a_disk_is_said_before(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})()
    )
    with pytest.raises(AuditError, match="are needed for"):
        get(hub, tmp_path)
    assert not hub.requests("storage")
