"""What the environment says about processes that train together: which rank this one is, and where the others are.

Understood: our own launcher, TF_CONFIG (TFJob, Vertex AI, SageMaker), SLURM's srun, the variables of Kubeflow's Trainer
(PET_…, JAX_…), and Open MPI's mpirun.
"""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cnntrain.errors import ConfigError

Environment = Mapping[str, str]
FIRST_PORT, PORTS = 15_000, 17_000  # from which a job's number picks one, below those that systems give away


@dataclass(frozen=True)
class Member:
    """This process among `world` ranks, of which `local_world` are on this machine.

    `addresses`: host:port of every rank, where they are known; else `rendezvous`: host:port at which rank 0 is met.
    `source`: who said so.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    addresses: tuple[str, ...] | None
    rendezvous: str | None
    source: str

    def __post_init__(self) -> None:
        for name, number, of in (("rank", self.rank, self.world), ("local rank", self.local_rank, self.local_world)):
            if not 0 <= number < of:
                raise ConfigError(f"{self.source}: expected a {name} from 0 to {of - 1}; received {number}")


def member(environ: Environment) -> Member | None:
    """This process's place; None if it is alone. Raises ConfigError for values that make no sense."""
    # mpirun within a SLURM job starts its processes by srun, which leaves variables behind
    for read in (from_launcher, from_tf_config, from_open_mpi, from_slurm, from_torch_elastic, from_jax):
        found = read(environ)
        if found is not None:
            return found if found.world > 1 else None
    return None


def warnings(environ: Environment) -> list[str]:
    """What looks as if several processes were wanted, and only one was started."""
    tasks = environ.get("SLURM_NTASKS", "1")
    if tasks.isdigit() and int(tasks) > 1 and not under_srun(environ) and member(environ) is None:
        return [f"SLURM gave --ntasks={tasks}, but only one process trains: start it by srun, as in srun cnntrain …"]
    return []


def from_launcher(environ: Environment) -> Member | None:
    """`cnntrain launch`."""
    if "CNNTRAIN_RANK" not in environ:
        return None
    return Member(
        rank=number(environ, "CNNTRAIN_RANK"),
        world=number(environ, "CNNTRAIN_WORLD"),
        local_rank=number(environ, "CNNTRAIN_LOCAL_RANK"),
        local_world=number(environ, "CNNTRAIN_LOCAL_WORLD"),
        addresses=None,
        rendezvous=text(environ, "CNNTRAIN_RENDEZVOUS"),
        source="cnntrain launch",
    )


def from_tf_config(environ: Environment) -> Member | None:
    """TF_CONFIG, with or without a chief (formerly master), who is rank 0."""
    if not environ.get("TF_CONFIG"):
        return None
    try:
        config = json.loads(environ["TF_CONFIG"])
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        addresses = {kind: list(cluster.get(kind, ())) for kind in ("chief", "master", "worker")}
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"TF_CONFIG: expected JSON with cluster and task; it can't be read: {error}") from error
    everyone = tuple(itertools.chain(*addresses.values()))
    if not everyone:
        return None
    if kind not in addresses:
        raise ConfigError(f"TF_CONFIG: task.type: only a chief and workers train here; received {kind}")
    if not 0 <= index < len(addresses[kind]):
        received = f"{index} of {len(addresses[kind])}"
        raise ConfigError(f"TF_CONFIG: task.index: expected the place of a {kind} in cluster; received {received}")
    rank = index + (len(everyone) - len(addresses["worker"]) if kind == "worker" else 0)
    mine = [each for each, address in enumerate(everyone) if host_of(address) == host_of(everyone[rank])]
    return Member(rank, len(everyone), mine.index(rank), len(mine), tuple(everyone), None, "TF_CONFIG")


def under_srun(environ: Environment) -> bool:
    """Whether srun started this process; sbatch's own script has no step."""
    return "SLURM_PROCID" in environ and environ.get("SLURM_STEP_ID", "") not in ("", "4294967291")


def from_slurm(environ: Environment) -> Member | None:
    """A task of srun."""
    if not under_srun(environ):
        return None
    hosts = hosts_in(environ.get("SLURM_STEP_NODELIST") or text(environ, "SLURM_JOB_NODELIST"))
    world = int(environ.get("SLURM_STEP_NUM_TASKS") or number(environ, "SLURM_NTASKS"))
    per_node = tasks_per_node(environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE", ""))
    node = number(environ, "SLURM_NODEID") if "SLURM_NODEID" in environ else 0
    port = FIRST_PORT + number(environ, "SLURM_JOB_ID") % PORTS
    local_rank = number(environ, "SLURM_LOCALID")
    local_world = per_node[node] if node < len(per_node) else local_rank + 1
    rank = number(environ, "SLURM_PROCID")
    return Member(rank, world, local_rank, local_world, None, f"{hosts[0]}:{port}", "SLURM")


def from_torch_elastic(environ: Environment) -> Member | None:
    """One process per node of Kubeflow's Trainer v2, for PyTorch."""
    if "PET_NNODES" not in environ:
        return None
    nodes = environ["PET_NNODES"].rpartition(":")[2]
    if not nodes.isdigit():
        raise ConfigError(f"PET_NNODES: expected a number; received {environ['PET_NNODES']}")
    if int(nodes) == 1:
        return None
    rendezvous = f"{text(environ, 'PET_MASTER_ADDR')}:{number(environ, 'PET_MASTER_PORT')}"
    return Member(number(environ, "PET_NODE_RANK"), int(nodes), 0, 1, None, rendezvous, "PET_…")


def from_jax(environ: Environment) -> Member | None:
    """One process per node of Kubeflow's Trainer v2, for JAX."""
    if "JAX_NUM_PROCESSES" not in environ:
        return None
    world = number(environ, "JAX_NUM_PROCESSES")
    if world == 1:
        return None
    return Member(
        number(environ, "JAX_PROCESS_ID"), world, 0, 1, None, text(environ, "JAX_COORDINATOR_ADDRESS"), "JAX_…"
    )


def from_open_mpi(environ: Environment) -> Member | None:
    """A process of mpirun."""
    name = "OMPI_COMM_WORLD_"
    if f"{name}RANK" not in environ:
        return None
    rank, world = number(environ, f"{name}RANK"), number(environ, f"{name}SIZE")
    local_rank, local_world = number(environ, f"{name}LOCAL_RANK"), number(environ, f"{name}LOCAL_SIZE")
    if "MASTER_ADDR" in environ:
        rendezvous = f"{environ['MASTER_ADDR']}:{number(environ, 'MASTER_PORT')}"
    elif world == local_world:
        job = environ.get("OMPI_MCA_ess_base_jobid") or environ.get("PMIX_NAMESPACE", "")
        rendezvous = f"127.0.0.1:{FIRST_PORT + int(re.sub(r'[^0-9]', '', job) or 0) % PORTS}"
    else:
        raise ConfigError(
            "mpirun: on several machines, rank 0 is met at MASTER_ADDR and MASTER_PORT; pass both, as in"
            " mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500"
        )
    return Member(rank, world, local_rank, local_world, None, rendezvous, "mpirun")


def text(environ: Environment, name: str) -> str:
    """A variable's value; raises ConfigError if it isn't set."""
    if not environ.get(name):
        raise ConfigError(f"{name}: is not set, and is needed to know the other processes")
    return environ[name]


def number(environ: Environment, name: str) -> int:
    """A variable's value as a whole number; raises ConfigError."""
    value = text(environ, name)
    if not value.isdigit():
        raise ConfigError(f"{name}: expected a whole number; received {value}")
    return int(value)


def host_of(address: str) -> str:
    """The host of host:port."""
    return address.rpartition(":")[0]


def hosts_in(nodes: str) -> list[str]:
    """The hosts of a SLURM node list, such as node[01-03,07],login2; raises ConfigError."""
    found = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes):
        pieces = [spread(piece) for piece in re.findall(r"\[[^\]]*\]|[^\[\]]+", part)]
        found += ["".join(combination) for combination in itertools.product(*pieces)]
    if not found or nodes.count("[") != nodes.count("]"):
        raise ConfigError(f"SLURM's node list: expected names such as node[01-03,07]; received {nodes}")
    return found


def spread(piece: str) -> list[str]:
    """The texts that a piece of a node list stands for: itself, or each number in brackets, as wide as it is given."""
    if not piece.startswith("["):
        return [piece]
    found = []
    for item in piece[1:-1].split(","):
        first, dash, last = item.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ConfigError(f"SLURM's node list: expected numbers such as [01-03,07]; received {piece}")
        found += [f"{each:0{len(first)}}" for each in range(int(first), int(last if dash else first) + 1)]
    return found


def tasks_per_node(counts: str) -> list[int]:
    """The tasks of each node, from SLURM's short form: 2(x3),1; raises ConfigError."""
    found = []
    for item in filter(None, counts.split(",")):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", item)
        if match is None:
            raise ConfigError(f"SLURM_TASKS_PER_NODE: expected counts such as 2(x3),1; received {counts}")
        found += [int(match[1])] * int(match[2] or 1)
    return found
