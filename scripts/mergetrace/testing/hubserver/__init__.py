"""A local Hub for tests and benchmarks: the protocol that huggingface_hub speaks,
faults on demand, and models of any size that are computed.

Nothing here was checked against the real Hub; what a reply must hold is what the real
client, huggingface_hub, asks for.
"""

from mergetrace.testing.hubserver.content import (
    Content,
    InFile,
    InMemory,
    Repo,
    folder_repo,
    git_sha1,
)
from mergetrace.testing.hubserver.faults import Fault
from mergetrace.testing.hubserver.server import Hub, Seen

__all__ = [
    "Content",
    "Fault",
    "Hub",
    "InFile",
    "InMemory",
    "Repo",
    "Seen",
    "folder_repo",
    "git_sha1",
]
