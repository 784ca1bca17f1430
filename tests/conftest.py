"""Tests run side by side, one worker a core: each keeps to one thread, since torch's
threads of several processes get in each other's way.
"""

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch and BLAS are loaded, so before any test module is
