"""Copy the lock file's versions into the conda files beside this script. `--check` only says which differ (exit 1)."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PIN = re.compile(r"(?m)^(\s+- )([A-Za-z0-9_.-]+)==(\S+)$")


def locked() -> dict[str, str]:
    """Version by lower-case package name, from requirements.lock."""
    lines = (HERE.parent / "requirements.lock").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines if "==" in line)


def pinned(text: str) -> str:
    """`text` of a conda file with every pip pin at the locked version. KeyError for a package the lock lacks."""
    versions = locked()
    return PIN.sub(lambda match: f"{match[1]}{match[2]}=={versions[match[2].lower()]}", text)


if __name__ == "__main__":
    stale = [path for path in sorted(HERE.glob("*.yaml")) if path.read_text() != pinned(path.read_text())]
    for path in stale:
        print(f"{path.name} differs from requirements.lock")
        if "--check" not in sys.argv:
            path.write_text(pinned(path.read_text()))
    sys.exit(bool(stale) and "--check" in sys.argv)
