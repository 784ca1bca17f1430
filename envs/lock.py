"""Pin what pyproject.toml asks for, with hashes, into requirements.lock. Run by
`make lock`, in an environment that has uv; with `--keep` versions stay where they fit.

uv resolves for every platform at once, against PyPI alone, and states the hash of every
file of each release. torch needs two locks more, beside this script:

torch-cpu.lock: its build for CPUs (version +cpu), which is on PyTorch's own index and
not on PyPI. Its hashes are read there, and from the folders of wheels that pip is
configured with (find-links); a comment names the files. Where pip finds none of these
it takes PyPI's build.
torch-cuda.lock: the libraries that PyPI's build for Linux needs and no other does.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
CPU_LOCK = ROOT / "envs/torch-cpu.lock"
CUDA_LOCK = ROOT / "envs/torch-cuda.lock"
CPU_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
CUDA_ONLY = re.compile(r"nvidia-|cuda-|triton==")
MADE = "# Made by `make lock` from pyproject.toml; do not edit.\n"


def resolved() -> list[str]:
    """The entries of a lock for all groups of pyproject.toml, each with its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock"
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml"]
        command += ["--all-extras", "--universal", "--fork-strategy", "fewest"]
        command += ["--generate-hashes", "--python-version", "3.11"]
        command += ["--no-annotate", "--no-header", "--quiet", "--output-file"]
        if "--keep" in sys.argv:  # versions stay where they still fit
            output.write_text(LOCK.read_text() + CUDA_LOCK.read_text())
        else:
            command.insert(-1, "--upgrade")
        subprocess.run([*command, str(output)], cwd=ROOT, check=True)
        return re.split(r"^(?=\w)", output.read_text(), flags=re.M)[1:]


def cpu_builds(version: str) -> dict[str, str]:
    """sha256 by file name of torch's builds for CPUs that can be seen from here."""
    builds = {}
    for folder in find_links():
        for wheel in folder.glob(f"torch-{version}+cpu-*.whl"):
            with wheel.open("rb") as file:
                builds[wheel.name] = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with urllib.request.urlopen(CPU_INDEX, timeout=30) as answer:
            page = answer.read().decode()
    except (URLError, TimeoutError) as error:
        print(
            f"PyTorch's own index cannot be read ({error}): torch-cpu.lock has less than there is"
        )
        return builds
    for name, digest in re.findall(r"/([^/\"]+\.whl)#sha256=(\w{64})", page):
        if unquote(name).startswith(f"torch-{version}+cpu-"):
            builds[unquote(name)] = digest
    return builds


def find_links() -> list[Path]:
    """The folders of wheels that pip is configured with."""
    pip = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    told = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    names = f"{told} {os.environ.get('PIP_FIND_LINKS', '')}".split()
    return [Path(name) for name in sorted(set(names)) if Path(name).is_dir()]


def cpu_lock(version: str) -> str:
    """The text of torch-cpu.lock."""
    builds = cpu_builds(version)
    files = "".join(f"#   {name}\n" for name in sorted(builds))
    hashes = [f"--hash=sha256:{digest}" for digest in sorted(set(builds.values()))]
    entry = " \\\n    ".join([f"torch=={version}+cpu", *hashes])
    return f"{MADE}# torch's build for CPUs, of which these could be seen:\n{files}{entry}\n"


def main() -> None:
    entries = resolved()
    cuda = [entry for entry in entries if CUDA_ONLY.match(entry)]
    LOCK.write_text(MADE + "".join(entry for entry in entries if entry not in cuda))
    CUDA_LOCK.write_text(
        f"{MADE}# What torch's build of PyPI needs besides on Linux.\n{''.join(cuda)}"
    )
    [torch] = [entry for entry in entries if entry.startswith("torch==")]
    CPU_LOCK.write_text(cpu_lock(torch.removeprefix("torch==").split()[0]))


if __name__ == "__main__":
    main()
