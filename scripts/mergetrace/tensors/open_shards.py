"""The weight files of several models, opened once each and read by offset."""

import os
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mergetrace.errors import ModelFileError
from mergetrace.files.adapter_files import prepared_base
from mergetrace.files.reading_ahead import advise
from mergetrace.files.safetensors_file import read_header, read_into
from mergetrace.files.sampled import Sampled
from mergetrace.numerics.arrays import Bytes

if TYPE_CHECKING:
    from mergetrace.tensors.adapted import Adapted


class OpenShards:
    """Open shards by model and name. Safe to share by threads.

    folders: where each model's shards lie; a file stands for shards of which only some
    ranges are here, or for a base with an adapter merged into it. in_order: whether the
    files are read from end to end; else the system is told not to read ahead.
    """

    def __init__(self, folders: Mapping[str, Path], in_order: bool) -> None:
        self._folders = folders
        self._advice = f"POSIX_FADV_{'SEQUENTIAL' if in_order else 'RANDOM'}"
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], int] = {}
        self._made = {
            model: self._opened(path)
            for model, path in folders.items()
            if path.is_file()
        }

    def close(self) -> None:
        """Close every file."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        for made in self._made.values():
            made.close()

    def lies_plain(self, model: str) -> bool:
        """Whether a model's shards are files of their own."""
        return model not in self._made

    def read_into(self, model: str, shard: str, offset: int, buffer: Bytes) -> None:
        """Fill `buffer` with the bytes of a shard from `offset` on; ModelFileError where
        the file ends before.
        """
        if model in self._made:
            self._made[model].read_into(shard, offset, buffer)
        else:
            descriptor = self.descriptor(model, shard)
            read_into(descriptor, offset, buffer, self.path(model, shard))

    def path(self, model: str, shard: str) -> str:
        """Where a shard lies, for messages."""
        return f"{self._folders[model]}/{shard}"

    def descriptor(self, model: str, shard: str) -> int:
        """The open file of a shard. That its name is a plain one was checked when the
        manifest was made. ModelFileError where it is gone.
        """
        with self._lock:
            if (model, shard) not in self._open:
                path = self._folders[model] / shard
                try:
                    descriptor = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    raise ModelFileError(
                        f"{path}: gone since the manifest was made; put it back, or"
                        f" delete results/models/{model} and run again"
                    ) from None
                self._open[model, shard] = descriptor
                advise(descriptor, self._advice, 0, 0)
            return self._open[model, shard]

    def _opened(self, path: Path) -> "Sampled | Adapted":
        """What a file stands for."""
        base = prepared_base(read_header(path))
        if base is None:
            return Sampled(path)
        # Compiled code, which those do without who check a bundle.
        from mergetrace.tensors.adapted import Adapted

        return Adapted(path, partial(self.read_into, base))
