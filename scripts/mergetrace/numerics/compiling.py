"""Functions compiled by numba on first use. What was compiled is kept on disk and used
where it can be read; a damaged or unwritable cache costs a compilation and no error.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache


class KeptCache(FunctionCache):
    """numba's own cache, except that a file which is damaged (left empty by a power
    cut, say) or cannot be written costs a compilation.

    numba itself leaves the error to the caller, in this job and in every one after it.
    """

    def __init__(self, function: Callable[..., Any], sources: Sequence[str]) -> None:
        super().__init__(function)
        self._stamps = tuple(_stamp(source) for source in sources)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What was compiled for a signature, None where nothing usable is kept."""
        try:
            return super().load_overload(signature, target)
        except Exception:  # it unpickles: a damaged file can raise anything
            try:
                self.flush()  # forgets all that was kept of the function
            except OSError:
                self.disable()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, where that is possible."""
        with suppress(OSError):
            super().save_overload(signature, compiled)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        """numba's key, which knows the function's own file, with the further sources'
        state.
        """
        return (*super()._index_key(signature, codegen), self._stamps)


def compiled(sources: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: the function is compiled on first use, without Python's lock, and
    kept beside its source or in the user's cache; nowhere where neither can be written.

    sources: further files whose change makes what was kept useless.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
        with suppress(RuntimeError):  # numba found no folder to write to
            dispatcher._cache = KeptCache(function, sources)
        return dispatcher

    return decorate


def _stamp(source: str) -> tuple[int, int]:
    state = Path(source).stat()
    return state.st_mtime_ns, state.st_size
