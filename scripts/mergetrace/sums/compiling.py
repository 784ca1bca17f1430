"""Functions compiled by numba on first use, and what was compiled kept on disk: of use
where it can be read, never in the way.
"""

from contextlib import suppress
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

FLAGS = {"nogil": True, "error_model": "numpy"}


class Kept(FunctionCache):
    """numba's own cache, but that a file which is damaged (left empty by a power cut,
    say) or cannot be written costs a compilation.

    numba leaves the error to the caller, in this job and in every one after it.
    """

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super().load_overload(signature, target)
        except Exception:  # it unpickles: a damaged file can raise anything
            try:
                self.flush()  # forgets all that was kept of the function
            except OSError:
                self.disable()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        with suppress(OSError):
            super().save_overload(signature, compiled)


def compiled(function: Any) -> Any:
    """`function` compiled on first use; kept beside the source or in the user's cache,
    and nowhere where neither can be written.
    """
    dispatcher = njit(**FLAGS)(function)
    with suppress(RuntimeError):  # numba found no folder to write to
        dispatcher._cache = Kept(function)
    return dispatcher
