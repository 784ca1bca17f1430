"""A real SLURM cluster of one node, on loopback, started from the distribution's
packages and stopped by pid.

No accounting (its daemon would listen on every interface) and no systemd. The two GPUs
are stand-ins: character devices that SLURM counts.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

CONFIGURATION = Path(
    "/etc/slurm"
)  # not in a folder of ours: jobs' steps forget SLURM_CONF
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

DAEMONS = ("munged", "slurmctld", "slurmd")
"""In the order in which they are started."""
CONFIGURATION_FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
CLUSTER_NAME = "ClusterName=mergetrace\n"
STARTED_BY = re.compile(r"^# started by process (\d+), which began at (\S+)$", re.M)

SLURM_CONF = """\
# started by process {process.pid}, which began at {began}
ClusterName=mergetrace
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=5,bf_interval=5
MinJobAge=7200
KillWait=5
ReturnToService=2
GresTypes=gpu
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=gpu:standin:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=256 State=UP
PartitionName=gpus Nodes={host} MaxTime=INFINITE DefMemPerCPU=256 State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if lacking := [program for program in PROGRAMS if not shutil.which(program)]:
        return f"no {lacking[0]} here; apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "starting a SLURM cluster needs root"
    return occupied()


def occupied() -> str | None:
    """Whose the configuration of SLURM is that lies here; None where there is none, or
    one that is left of a run of these tests that was killed.
    """
    written = CONFIGURATION / "slurm.conf"
    if not written.exists():
        return None
    text = written.read_text()
    if CLUSTER_NAME not in text:
        return f"{written} is there already: this machine belongs to another cluster"
    if (owner := STARTED_BY.search(text)) is None:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(owner[1]))
        if str(process.create_time()) == owner[2]:
            return f"{written}: process {process.pid} runs these tests at the moment"
    return None


def clear_leftovers() -> None:
    """End the cluster of a run of these tests that was killed, and remove what it
    wrote.
    """
    if reason := occupied():
        raise RuntimeError(reason)
    written = CONFIGURATION / "slurm.conf"
    text = written.read_text() if written.exists() else ""
    kept = re.search(r"^SlurmctldPidFile=(.+)/", text, re.M)
    alive = _daemons_of(Path(kept[1])) if kept else []
    if alive:
        _cancel_jobs()
    for pid in reversed(alive):
        _stop(pid)
    _remove_configuration()


def _daemons_of(folder: Path) -> list[int]:
    """The daemons that run with their state in `folder`, in the order of their start."""
    alive = []
    for name in DAEMONS:
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int((folder / f"{name}.pid").read_text()))
            if process.name() == name:  # a number may be another process's by now
                alive.append(process.pid)
    return alive


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A running cluster with its state in `folder`; afterwards its jobs are cancelled
    and its daemons ended.
    """
    clear_leftovers()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    gpu = "".join(
        f"NodeName={host} Name=gpu Type=standin File={device}\n"
        for device in ("/dev/null", "/dev/zero")
    )
    process = psutil.Process()
    configuration = SLURM_CONF.format(
        process=process,
        began=process.create_time(),
        host=host,
        folder=folder,
        ports=_free_ports(2),
    )
    written = {
        "slurm.conf": configuration,
        "gres.conf": gpu,
        "cgroup.conf": "",
    }
    started = []
    try:
        for name, text in written.items():
            (CONFIGURATION / name).write_text(text)
        started.append(_munge(folder))
        started.append(_daemon("slurmctld", folder))
        started.append(_daemon("slurmd", folder))
        _wait(
            lambda: "idle" in _output("sinfo", "--noheader", "--format=%T"),
            "the node never became idle",
            30,
        )
        yield
    finally:
        _cancel_jobs()
        for pid in reversed(started):
            _stop(pid)
        _remove_configuration()


def jobs(*states: str) -> list[dict[str, str]]:
    """Jobs in the queue (in `states`; pending, running and completing if none are
    given): id, state and comment.
    """
    which = ",".join(states) or "PENDING,RUNNING,COMPLETING,SUSPENDED"
    lines = _output(
        "squeue", "--noheader", f"--states={which}", "--format=%i|%T|%k"
    ).splitlines()
    return [
        dict(zip(("id", "state", "comment"), line.split("|", maxsplit=2), strict=True))
        for line in lines
    ]


def ended(job: str) -> dict[str, str]:
    """What SLURM remembers of a job: its fields as `scontrol show job` names them."""
    return dict(
        field.split("=", maxsplit=1)
        for field in _output("scontrol", "--oneliner", "show", "job", job).split()
        if "=" in field
    )


def _cancel_jobs() -> None:
    subprocess.run(
        ["scancel", "--full", "--user=root", "--quiet"],
        check=False,
        capture_output=True,
    )
    with contextlib.suppress(TimeoutError):
        _wait(lambda: not jobs(), "jobs that do not end", 20)


def _remove_configuration() -> None:
    for name in CONFIGURATION_FILES:
        (CONFIGURATION / name).unlink(missing_ok=True)


def _munge(folder: Path) -> int:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    options = {
        "key-file": key,
        "socket": folder / "munge.socket",
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
    }
    options |= {"seed-file": folder / "munge.seed", "num-threads": 2}
    # --force: folders below /tmp are writable by others
    subprocess.run(
        [
            "munged",
            "--force",
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        check=True,
        capture_output=True,
    )
    return _pid(folder / "munged.pid")


def _daemon(name: str, folder: Path) -> int:
    subprocess.run(
        [name], check=True, capture_output=True, env={"PATH": os.environ["PATH"]}
    )
    return _pid(folder / f"{name}.pid")


def _pid(path: Path) -> int:
    _wait(
        lambda: path.exists() and path.read_text().strip(),
        f"{path.stem} did not start",
        10,
    )
    return int(path.read_text())


def _stop(pid: int) -> None:
    """End one process: politely, then not. One that nobody waited for counts as
    gone.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.kill(pid, number)
            _wait(lambda: not _alive(pid), f"process {pid} does not end", 10)
            return


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _wait(condition, otherwise: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)
