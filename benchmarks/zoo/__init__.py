"""Hundreds of planted audits.

Whoever imports it keeps to one thread, since its workers run side by side, and asks no
network. Both are read when torch and transformers are loaded: so they stand here.
"""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
