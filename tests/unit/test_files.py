"""Outputs appear whole or not at all, and a full disk is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mergetrace.errors import AuditError
from mergetrace.outputs import whole, whole_folder, write_json

ROOT = Path(__file__).parents[2]
GUARDED = "from mergetrace.running.command_line import guarded\n"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})

    def half_way():
        with whole(target) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as folder:
        (folder / "absent/file").write_text("x", encoding="utf-8")
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "all").write_text("x", encoding="utf-8")
    with (
        pytest.raises(AuditError, match="exists already"),
        whole_folder(tmp_path / "out"),
    ):
        pass


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line():
    """/dev/full answers every write as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    code = f"{GUARDED}guarded(lambda: print('x', file=open('/dev/full', 'w', 1)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


TEXT = "write_text(path, 'x' * 10**6)"
TABLE = (
    "write_parquet(path, pd.DataFrame({'x': np.random.default_rng(0).random(10**5)}))"
)


@pytest.mark.real
@pytest.mark.parametrize("write", [TEXT, TABLE])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, write):
    """On a real file system that is too small. Standard output says it too: the log may
    lie on the same disk.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],
        check=False,
        capture_output=True,
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        code = (
            f"{GUARDED}import numpy as np, pandas as pd\n"
            "from mergetrace.outputs import *\n"
            f"path = {str(disk / 'x')!r}\nguarded(lambda: {write})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "scripts",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout.startswith("mergetrace: the disk is full while writing ")
        assert done.stderr == done.stdout
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_too_little_memory_is_one_line():
    code = f"{GUARDED}guarded(lambda: bytearray(1 << 50))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("mergetrace: out of memory; ")
    assert done.stderr.count("\n") == 1


def test_evidence_on_a_full_disk_is_an_os_error(tmp_path):
    """The safetensors writer wraps the system's error; a file-size limit stands in for
    the full disk.
    """
    code = (
        "import resource, signal, numpy as np\nfrom pathlib import Path\nfrom"
        " mergetrace.sums.evidence import Sample,"
        " write_evidence\nsignal.signal(signal.SIGXFSZ,"
        " signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000,"
        " 1000))\nsample = Sample(np.zeros(8000, np.uint8), 'BF16')\ntry:\n   "
        f" write_evidence(Path({str(tmp_path / 'e')!r}), {{0: (np.array([[0, 4000]]),"
        " {'m': sample})}, {})\nexcept OSError as error:\n    print('errno',"
        " error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("errno "), done.stdout + done.stderr
