"""Several processes train what one trains: the same weights, sums and predictions."""

import os
import subprocess
import sys

import numpy as np
import pytest

from cnntrain.runtime.machine import usable_cores
from cnntrain.runtime.ranks import Share
from cnntrain.runtime.rendezvous import free_port
from tests.training import rank_program

PROGRAM = [sys.executable, "-m", "tests.training.rank_program"]


@pytest.fixture(scope="module")
def alone():
    """The results of one process."""
    with pytest.warns(UserWarning, match="Gradients do not exist"):  # the box has no loss in some cases
        return rank_program.all_results()


def by_launcher(rank, world, port):
    """What our launcher sets."""
    place = {"RANK": rank, "WORLD": world, "LOCAL_RANK": rank, "LOCAL_WORLD": world}
    return {f"CNNTRAIN_{name}": value for name, value in place.items()} | {"CNNTRAIN_RENDEZVOUS": f"127.0.0.1:{port}"}


def by_srun(rank, world, port):
    """What SLURM sets for the tasks of a step on one node."""
    step = {"STEP_ID": 0, "NTASKS": world, "STEP_NUM_TASKS": world, "STEP_TASKS_PER_NODE": world, "NODEID": 0}
    del port  # it follows from the job's number
    place = {"JOB_ID": os.getpid(), "STEP_NODELIST": "localhost", "PROCID": rank, "LOCALID": rank, **step}
    return {f"SLURM_{name}": value for name, value in place.items()}


def by_kubernetes(rank, world, port):
    """What Kubeflow's Trainer sets on each node."""
    place = {"NNODES": world, "NPROC_PER_NODE": "auto", "NODE_RANK": rank, "MASTER_ADDR": "localhost"}
    return {f"PET_{name}": value for name, value in place.items()} | {"PET_MASTER_PORT": port}


def together(path, world, environment=by_launcher):
    """The results of several processes."""
    port, processes = free_port(), []
    for rank in range(world):
        own = {name: str(value) for name, value in environment(rank, world, port).items()}
        processes.append(subprocess.Popen([*PROGRAM, path], env={**os.environ, **own}))
    assert [process.wait(timeout=240) for process in processes] == [0] * world
    return dict(np.load(path))


@pytest.mark.slow
@pytest.mark.parametrize("environment", [by_srun, by_kubernetes])
def test_ranks_need_no_launcher_on_clusters(alone, tmp_path, environment):
    found = together(tmp_path / "results.npz", 2, environment)
    assert found.keys() == alone.keys()
    np.testing.assert_allclose(found["mixed/totals"], alone["mixed/totals"], rtol=1e-5)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_train_what_one_process_trains(alone, tmp_path, world):
    found = together(tmp_path / "results.npz", world)
    assert found.keys() == alone.keys()
    for case in rank_program.CASES:
        largest = max(np.abs(value).max() for name, value in alone.items() if name.startswith(f"{case}/0 "))
        for name, value in found.items():
            if not name.startswith(f"{case}/"):
                continue
            tolerance = {"totals": 1e-4, "metrics": 1e-6}.get(name.partition("/")[2], 1e-5 * largest)
            np.testing.assert_allclose(value, alone[name], rtol=1e-5, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 32])
def test_shares_divide_a_batch_and_the_first_rank_always_has_some(world, count):
    rows = [Share(rank, world).rows(count) for rank in range(world)]
    assert rows[0][0] == 0
    assert rows[-1][1] == count
    assert all(before[1] == after[0] for before, after in zip(rows, rows[1:], strict=False))
    assert rows[0][1] > 0


@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
def test_two_devices_give_one_run_and_it_goes_on_alone(cnntrain, tmp_path):
    run = tmp_path / "run"
    words = [
        "model=lenet5", "data=digits", "batch_size=30", "report=false", "limits.steps=3",
        "schedule=from_scratch", "schedule.phases.all.epochs=1",
    ]  # fmt: skip
    code, said = cnntrain(*words, "devices=2", f"hydra.run.dir={run}")
    assert code == 0, said
    assert "processes" in said
    assert "2; 15 images of each batch in each" in said
    assert said.count("done in") == 1
    assert (run / "metrics.json").is_file()
    code, said = cnntrain("resume", run, "devices=1", "schedule.phases.all.epochs=2")
    assert code == 0, said
    assert "the run had 2 processes, and has 1 now" in said
    assert len((run / "history.csv").read_text().splitlines()) == 3
