"""What the system is told of how files are read."""

import os
from collections.abc import Iterable
from pathlib import Path


def advise(descriptor: int, advice: str, start: int, size: int) -> None:
    """Tell the system how a file is read, where it can be told: macOS cannot."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, size, getattr(os, advice))


def are_large(folders: Iterable[Path]) -> bool:
    """Whether the models' files take more than half of the memory, so that not all of
    them stay in the system's cache. False where the memory is not known.
    """
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not all(name in getattr(os, "sysconf_names", ()) for name in names):
        return False
    pages, page_size = map(os.sysconf, names)
    size = 0
    for folder in folders:
        for ending in ("*.safetensors", "*.gguf"):
            files = (path for path in folder.glob(ending) if path.exists())
            size += sum(path.stat().st_size for path in files)
    return size > pages * page_size // 2
