"""What a killed run of the SLURM test leaves is replaced by the next; anybody else's
cluster is left alone.
"""

import psutil
import pytest

from slurm import cluster


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    """A folder of SLURM's configuration, in which a test writes slurm.conf."""
    monkeypatch.setattr(cluster, "CONFIGURATION", tmp_path)
    return tmp_path


def written_by(process, folder, began=None):
    text = cluster.SLURM_CONF.format(
        process=process,
        began=began or process.create_time(),
        host="here",
        folder=folder,
        ports=(1, 2),
    )
    (folder / "slurm.conf").write_text(text)
    for name in ("gres.conf", "cgroup.conf"):
        (folder / name).write_text("")


def test_nothing_lies_there(configuration):
    assert cluster.occupied() is None
    cluster.clear_leftovers()


def test_another_cluster_is_left_alone(configuration):
    (configuration / "slurm.conf").write_text("ClusterName=theirs\n")
    assert "belongs to another cluster" in cluster.occupied()
    with pytest.raises(RuntimeError, match="another cluster"):
        cluster.clear_leftovers()
    assert (configuration / "slurm.conf").exists()


def test_another_run_is_left_alone(configuration):
    written_by(psutil.Process(), configuration)
    with pytest.raises(RuntimeError, match="runs these tests at the moment"):
        cluster.clear_leftovers()
    assert (configuration / "slurm.conf").exists()


def test_what_a_killed_run_left_is_replaced(configuration):
    """Its process number may belong to another process by now."""
    written_by(psutil.Process(), configuration, began="1.5")
    (configuration / "slurmd.pid").write_text(str(psutil.Process().pid))
    assert cluster.occupied() is None
    cluster.clear_leftovers()  # a daemon's number that is not a daemon's any more
    assert not list(configuration.glob("*.conf"))


def test_what_was_left_before_runs_were_named_is_replaced(configuration):
    (configuration / "slurm.conf").write_text("ClusterName=mergetrace\n")
    assert cluster.occupied() is None
    cluster.clear_leftovers()
    assert not list(configuration.glob("*.conf"))
