"""A fresh copy of the workflow for every test that wants one."""

from pathlib import Path

import pytest

from mergetrace.testing.workplace import copy_workflow


@pytest.fixture
def workplace(tmp_path) -> Path:
    """A fresh copy of the workflow."""
    return copy_workflow(tmp_path / "workplace")
