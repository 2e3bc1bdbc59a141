"""The processes that train together, one per device: this one's place among them, and what they exchange.

Each of these ranks has the whole network and its optimizer as plain variables, and takes its share of every batch. What
must be the same everywhere is summed over all ranks, in the same order in each. The engine is TensorFlow's
MultiWorkerMirroredStrategy, of which only the public collectives are used. A process that is alone is rank 0 of 1, and
exchanges nothing.
"""

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cnntrain.errors import DataError, TrainingError
from cnntrain.runtime.cluster import Member, member

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

Number = TypeVar("Number", int, "tf.Tensor")
NOISE_APART = 0x9E3779B9  # between the seeds of two ranks
_hosts: list[str] = []
_engine: list["tf.distribute.MultiWorkerMirroredStrategy"] = []


@functools.cache
def place() -> Member | None:
    """What the environment says about this process; None if it is alone."""
    return member(os.environ)


def rank() -> int:
    """This process's number among those that train together."""
    here = place()
    return here.rank if here else 0


def world() -> int:
    """How many processes train together."""
    here = place()
    return here.world if here else 1


def is_first() -> bool:
    """Whether this is the rank that writes and prints."""
    return rank() == 0


@dataclass(frozen=True)
class Share:
    """The rows of each batch that belong to one rank: neighbors, and one more for the first ranks if need be."""

    rank: int
    world: int

    def rows(self, count: Number) -> tuple[Number, Number]:
        """The first row and the one after the last, of `count`."""
        return self._start(count, self.rank), self._start(count, self.rank + 1)

    def _start(self, count: Number, number: int) -> Number:
        if isinstance(count, int):
            return count // self.world * number + min(number, count % self.world)
        import tensorflow as tf

        return count // self.world * number + tf.minimum(tf.cast(number, count.dtype), count % self.world)


def share() -> Share | None:
    """This process's share of a batch; None if it takes all of it."""
    return Share(rank(), world()) if world() > 1 else None


def join() -> None:
    """Meets the other ranks, if there are any; must be called before TensorFlow uses a device.

    Raises TrainingError if they don't come.
    """
    here = place()
    if here is None or _engine:
        return
    import tensorflow as tf

    from cnntrain.runtime import supervised
    from cnntrain.runtime.rendezvous import meet, token_of

    supervised.begin(here.rank)
    addresses = meet(here, token=token_of(os.environ))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}), task_type="worker", task_id=here.rank, rpc_layer="grpc"
    )
    # without a timeout for collectives: TensorFlow has a thread sleep that long for each of them
    _engine.append(tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver))


def hosts() -> list[str]:
    """The machines' names, in the order of their first ranks."""
    import platform

    if world() == 1:
        return [platform.node()]
    if not _hosts:
        names = [_text_of(number, platform.node()) for number in range(world())]
        _hosts.extend(dict.fromkeys(names))
    return list(_hosts)


def together(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Runs a function in which `total` may be called, inside a graph."""
    return _engine[0].run(function, tuple(arguments)) if _engine else function(*arguments)


def total(tensors: "Sequence[tf.Tensor]") -> "list[tf.Tensor]":
    """The sums over all ranks of tensors of one dtype; a gradient flows back to each rank."""
    if not _engine:
        return list(tensors)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    here = [tf.identity(tensor) for tensor in tensors]  # on this rank's device, which the collective asks for
    return context.all_reduce(tf.distribute.ReduceOp.SUM, here)


@functools.cache
def _summing() -> Callable[["tf.Tensor"], "tf.Tensor"]:
    import tensorflow as tf

    return tf.function(lambda vector: together(lambda values: total([values])[0], [vector]), reduce_retracing=True)


@functools.cache
def _gathering() -> Callable[["tf.Tensor"], "tf.Tensor"]:
    import tensorflow as tf

    def gather(value: "tf.Tensor") -> "tf.Tensor":
        return tf.distribute.get_replica_context().all_gather(tf.identity(value), axis=0)

    return tf.function(lambda rows: together(gather, [rows]), reduce_retracing=True)


def summed(values: "np.ndarray") -> "np.ndarray":
    """The sum of an array over all ranks."""
    if world() == 1:
        return values
    return _summing()(values.reshape(-1)).numpy().reshape(values.shape)


def agreed(values: "np.ndarray") -> "np.ndarray":
    """Rank 0's values of an array, everywhere."""
    return summed(values if is_first() else values * 0)


def gathered(rows: "tf.Tensor") -> "tf.Tensor":
    """The rows of all ranks, one rank's after another's; shapes may differ in the number of rows."""
    return _gathering()(rows) if world() > 1 else rows


def agreed_number(number: float) -> float:
    """Rank 0's number, everywhere."""
    if world() == 1:
        return number
    import numpy as np

    return float(agreed(np.array([number], np.float64))[0])


def largest(number: int) -> int:
    """The largest of the ranks' whole numbers."""
    if world() == 1:
        return number
    import numpy as np

    numbers = np.zeros(world(), np.int64)
    numbers[rank()] = number
    return int(summed(numbers).max())


def agreed_text(text: str) -> str:
    """Rank 0's text, everywhere."""
    return text if world() == 1 else _text_of(0, text)


def _text_of(number: int, text: str) -> str:
    """A rank's text, everywhere."""
    import numpy as np

    encoded = text.encode("utf-8", "surrogateescape") if rank() == number else b""
    length = largest(len(encoded))
    codes = np.frombuffer(encoded.ljust(length, b"\0"), np.uint8).astype(np.int32)
    return summed(codes).astype(np.uint8).tobytes().decode("utf-8", "surrogateescape")


def same_everywhere(what: str, text: str) -> None:
    """Raises DataError, on every rank, if a text is not the same on all of them; it names the ranks."""
    if world() == 1:
        return
    import numpy as np

    differs = np.zeros(world(), np.int64)
    differs[rank()] = int(agreed_text(text) != text)
    strange = np.flatnonzero(summed(differs)).tolist()
    if strange:
        names = ", ".join(map(str, strange))
        raise DataError(f"{what} are not the same on all ranks: rank {names} has others than rank 0")


def separate_noise(variables: "Sequence[keras.Variable]") -> None:
    """Gives this rank random numbers of its own in training, such as dropout's, from the states of rank 0."""
    for variable in variables:
        if "seed" in variable.name and rank():
            seed, count = variable.numpy().tolist()
            variable.assign([(seed + rank() * NOISE_APART) % 2**32, count])


def give_to_all(variables: "Sequence[keras.Variable]") -> None:
    """Gives variables the values that they have on rank 0."""
    if world() == 1:
        return
    import numpy as np

    for variable in variables:
        value = variable.numpy()
        wide = value if value.dtype in (np.float32, np.float64, np.int32, np.int64) else value.astype(np.float64)
        variable.assign(agreed(wide).astype(value.dtype))


def wait() -> None:
    """Returns when all ranks have come here."""
    agreed_number(0)


def lost(error: Exception) -> TrainingError | None:
    """The error to show if TensorFlow's says that another rank has gone; else None."""
    import tensorflow as tf

    errors = tf.errors
    gone = (errors.UnavailableError, errors.AbortedError, errors.DeadlineExceededError, errors.CancelledError)
    if world() == 1 or not isinstance(error, (*gone, errors.InternalError)):
        return None
    others = sorted({int(number) for number in re.findall(r"task:(\d+)", str(error))} - {rank()})
    who = f"rank {', '.join(map(str, others))}" if others else "another rank"
    reason = next((line for line in str(error).splitlines() if "Collective" in line), str(error).splitlines()[0])
    return TrainingError(
        f"rank {rank()} of {world()} ends, because {who} has gone: {reason}\n"
        "The first rank that failed says why, in its own output"
    )
