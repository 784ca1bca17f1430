"""Pin what the project needs, with the hash of every file, into the lock files. Run by
`make lock`, in an environment that has uv; with `--keep` versions stay where they fit.

uv resolves against PyPI alone, and states the hashes of all files of each release.

requirements.lock: all groups of pyproject.toml, for every platform at once.
envs/torch-cpu.lock: torch's build for CPUs (version +cpu), which is on PyTorch's own
index and not on PyPI. Its hashes are read there, and from the folders of wheels that pip
is configured with (find-links); a comment names the files. Where pip finds none of these
it takes PyPI's build.
envs/torch-cuda.lock: the libraries that PyPI's build needs on Linux, and no other does.
requirements-vllm.lock: requirements-vllm.in, without torch, which is the same build for
CPUs, and without torchvision, torchaudio and torchcodec, whose published builds are for
GPUs and break the import.
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
VLLM_LOCK = ROOT / "requirements-vllm.lock"
CPU_LOCK = ROOT / "envs/torch-cpu.lock"
CUDA_LOCK = ROOT / "envs/torch-cuda.lock"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_ONLY = re.compile(r"nvidia-|cuda-|triton==")
TORCH = re.compile(r"torch(vision|audio|codec)?==")
MADE = "# Made by `make lock`; do not edit.\n"


def resolved(source: str, locks: list[Path], options: list[str]) -> list[str]:
    """The entries of a lock for what `source` asks for, each with its hashes. locks: of
    before, whose versions are preferred with --keep.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock"
        command = [sys.executable, "-m", "uv", "pip", "compile", source, *options]
        command += ["--generate-hashes", "--python-version", "3.11"]
        command += ["--no-annotate", "--no-header", "--quiet"]
        if "--keep" in sys.argv:
            output.write_text("".join(lock.read_text() for lock in locks))
        else:
            command.append("--upgrade")
        command += ["--output-file", str(output)]
        subprocess.run(command, cwd=ROOT, check=True)
        return re.split(r"^(?=\w)", output.read_text(), flags=re.M)[1:]


def where_torch_is() -> list[str]:
    """uv's options to find torch's builds for CPUs, on which vLLM's build for CPUs
    insists.
    """
    folders = [folder for folder in find_links() if list(folder.glob("torch-*+cpu-*"))]
    if folders:
        return [f"--find-links={folder}" for folder in folders]
    return [f"--index={CPU_INDEX}", "--index-strategy=unsafe-best-match"]


def cpu_builds(version: str) -> dict[str, str]:
    """sha256 by file name of torch's builds for CPUs that can be seen from here."""
    builds = {}
    for folder in find_links():
        for wheel in folder.glob(f"torch-{version}+cpu-*.whl"):
            with wheel.open("rb") as file:
                builds[wheel.name] = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=30) as answer:
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
    everywhere = ["--all-extras", "--universal", "--fork-strategy=fewest"]
    entries = resolved("pyproject.toml", [LOCK, CUDA_LOCK], everywhere)
    vllm = resolved("requirements-vllm.in", [VLLM_LOCK], where_torch_is())
    version = torch_version(entries)
    if torch_version(vllm) != f"{version}+cpu":
        sys.exit(f"vLLM needs torch {torch_version(vllm)}, pyproject.toml {version}")
    cuda = [entry for entry in entries if CUDA_ONLY.match(entry)]
    LOCK.write_text(MADE + "".join(entry for entry in entries if entry not in cuda))
    CUDA_LOCK.write_text(
        f"{MADE}# What torch's build of PyPI needs besides on Linux.\n{''.join(cuda)}"
    )
    CPU_LOCK.write_text(cpu_lock(version))
    besides = "".join(entry for entry in vllm if not TORCH.match(entry))
    VLLM_LOCK.write_text(
        f"{MADE}# Beside torch, which is envs/torch-cpu.lock.\n{besides}"
    )


def torch_version(entries: list[str]) -> str:
    """The version of torch in a lock."""
    [torch] = [entry for entry in entries if entry.startswith("torch==")]
    return torch.removeprefix("torch==").split()[0]


if __name__ == "__main__":
    main()
