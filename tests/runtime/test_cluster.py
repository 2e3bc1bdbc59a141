"""Which rank the environment makes of a process."""

import json

import pytest

from cnntrain.errors import ConfigError
from cnntrain.runtime.cluster import hosts_in, member, tasks_per_node, warnings

SRUN = {
    "SLURM_JOB_ID": "40123", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "5", "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_JOB_NODELIST": "gpu[01-03]", "SLURM_STEP_NODELIST": "gpu[01-03]", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
}  # fmt: skip


def tf_config(kind, index, **cluster):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


LAUNCHED = {
    "CNNTRAIN_RANK": "3", "CNNTRAIN_WORLD": "4", "CNNTRAIN_LOCAL_RANK": "1", "CNNTRAIN_LOCAL_WORLD": "2",
    "CNNTRAIN_RENDEZVOUS": "10.0.0.1:29500",
}  # fmt: skip
FOUND = {
    "launcher": (LAUNCHED, (3, 4, 1, 2), None, "10.0.0.1:29500"),
    "TFJob without chief": (tf_config("worker", 1, worker=["a:1", "b:1"]), (1, 2, 0, 1), ("a:1", "b:1"), None),
    "TFJob with chief": (
        tf_config("worker", 0, chief=["c:9"], worker=["a:1", "a:2"]), (1, 3, 0, 2), ("c:9", "a:1", "a:2"), None
    ),
    "Vertex's chief": (
        tf_config("chief", 0, chief=["c:9"], worker=["a:1"], evaluator=["e:1"]), (0, 2, 0, 1), ("c:9", "a:1"), None
    ),
    "TFJob with the former name": (
        tf_config("worker", 0, master=["m:9"], worker=["a:1"]), (1, 2, 0, 1), ("m:9", "a:1"), None
    ),
    "mpirun in a SLURM job": (
        {
            **SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_MCA_ess_base_jobid": "7",
        },
        (1, 2, 1, 2), None, "127.0.0.1:15007",
    ),
    "srun, first node": (
        {**SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}, (0, 5, 0, 2), None, "gpu01:21123"
    ),
    "srun, last node": (
        {**SRUN, "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "2"}, (4, 5, 0, 1), None, "gpu01:21123"
    ),
    "Kubeflow's Trainer for PyTorch": (
        {
            "PET_NNODES": "2", "PET_NPROC_PER_NODE": "auto", "PET_NODE_RANK": "1",
            "PET_MASTER_ADDR": "job-node-0-0.job", "PET_MASTER_PORT": "29500",
        },
        (1, 2, 0, 1), None, "job-node-0-0.job:29500",
    ),
    "Kubeflow's Trainer for JAX": (
        {"JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2", "JAX_COORDINATOR_ADDRESS": "job-node-0-0.job:6666"},
        (2, 3, 0, 1), None, "job-node-0-0.job:6666",
    ),
    "mpirun on one machine": (
        {
            "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_MCA_ess_base_jobid": "1234",
        },
        (1, 2, 1, 2), None, "127.0.0.1:16234",
    ),
    "mpirun on two machines": (
        {
            "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "1", "MASTER_ADDR": "one", "MASTER_PORT": "29500",
        },
        (1, 2, 0, 1), None, "one:29500",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_clusters_set_is_understood(name):
    environ, place, addresses, rendezvous = FOUND[name]
    found = member(environ)
    assert (found.rank, found.world, found.local_rank, found.local_world) == place
    assert (found.addresses, found.rendezvous) == (addresses, rendezvous)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        tf_config("worker", 0, worker=["a:1"]),
        {"TF_CONFIG": "{}"},
        {"PET_NNODES": "1"},
        {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"},  # in sbatch's own script
        {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1",
         "SLURM_JOB_NODELIST": "n1"},
    ],
)  # fmt: skip
def test_a_process_may_be_alone(environ):
    assert member(environ) is None


WRONG = {
    "JSON": ({"TF_CONFIG": "{"}, "TF_CONFIG: expected JSON"),
    "a parameter server": (tf_config("ps", 0, worker=["a:1", "b:1"], ps=["c:1"]), "only a chief and workers .* ps"),
    "no such worker": (tf_config("worker", 2, worker=["a:1", "b:1"]), "received 2 of 2"),
    "rank too large": ({**LAUNCHED, "CNNTRAIN_RANK": "4"}, "expected a rank from 0 to 3; received 4"),
    "no number": ({**LAUNCHED, "CNNTRAIN_WORLD": "many"}, "CNNTRAIN_WORLD: expected a whole number; received many"),
    "no rendezvous": ({**LAUNCHED, "CNNTRAIN_RENDEZVOUS": ""}, "CNNTRAIN_RENDEZVOUS: is not set"),
    "PET without a master": ({"PET_NNODES": "2", "PET_NODE_RANK": "0"}, "PET_MASTER_ADDR: is not set"),
    "mpirun on machines that don't know each other": (
        {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
         "OMPI_COMM_WORLD_LOCAL_SIZE": "1"},
        "pass both, as in mpirun -x MASTER_ADDR",
    ),
    "a broken node list": ({**SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "gpu[01-x]"},
                           r"node list: expected numbers such as \[01-03,07\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_named(name):
    environ, text = WRONG[name]
    with pytest.raises(ConfigError, match=text):
        member(environ)


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        ("n1", ["n1"]),
        ("node[01-03,07],login2", ["node01", "node02", "node03", "node07", "login2"]),
        ("r[1-2]n[09-10]", ["r1n09", "r1n10", "r2n09", "r2n10"]),
        ("a-b,c[3]-x", ["a-b", "c3-x"]),
    ],
)
def test_node_lists_are_spread_out(nodes, hosts):
    assert hosts_in(nodes) == hosts


def test_counts_of_tasks_are_spread_out():
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    with pytest.raises(ConfigError, match="expected counts such as"):
        tasks_per_node("2x3")


def test_several_tasks_without_srun_are_warned_of():
    assert "start it by srun" in warnings({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"})[0]
    assert warnings({**SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) == []
    assert warnings({}) == []
