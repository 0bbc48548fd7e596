"""Everything that differs with several processes; alone, each of these functions does nothing.

`torchrun --nproc-per-node N -m biosig_cli ...` starts them. Each holds the whole model and takes
its share of every batch; gradients and losses are summed before every step, so that all processes
hold the same state. The first one writes and reports.

Gradients are summed here rather than by torch's DistributedDataParallel: it takes the mean over
processes, whose shares of a last batch differ or are empty; it must be made again whenever other
parameters move; it renames the weights; and it hangs where one process halves its batch for want
of memory. What it gains, sending early layers while later ones are computed, is small at the size
of our encoders.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from biosig_cli.core.errors import BiosigError, ConfigError, TrainingError
from biosig_cli.core.progress import Reporter

TIMEOUT = timedelta(minutes=10)
"""A process that has not answered for so long is taken for dead."""

T = TypeVar("T")


def n_processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Return the number of this process, counted from zero."""
    return dist.get_rank() if n_processes() > 1 else 0


def is_first() -> bool:
    """Say whether this is the process that writes and reports."""
    return number() == 0


def n_started() -> int:
    """Return how many processes torchrun started, whether or not they have met."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def join(device: str) -> str:
    """Meet the other processes that torchrun started, if any, and return this one's device.

    Args:
        device: `cpu` or `cuda`; each process takes a GPU of its own.

    Raises:
        ConfigError: If the device can't be shared among processes.
        TrainingError: If the others can't be reached.
    """
    if n_started() == 1:
        return device
    device = _own_device(device)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        try:
            dist.init_process_group(backend, timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"the other processes can't be reached: {_first_line(error)}",
                hint="start with torchrun, the same --nnodes and --rdzv-endpoint on every node",
            ) from None
        atexit.register(dist.destroy_process_group)
    return device


def _own_device(device: str) -> str:
    if device == "cpu":
        return device
    if device != "cuda":
        raise ConfigError(
            f"several processes can't share {device}", hint="use --device cuda, auto or cpu"
        )
    place, n_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= n_gpus:
        raise ConfigError(
            f"{os.environ.get('LOCAL_WORLD_SIZE')} processes on a machine with {n_gpus} GPUs",
            hint=f"torchrun --nproc-per-node {n_gpus}: each process takes a GPU of its own",
        )
    torch.cuda.set_device(place)
    return f"cuda:{place}"


def heard(reporter: Reporter) -> Reporter:
    """Return the reporter of this process: only the first one is heard, also before they met."""
    is_other = os.environ.get("RANK", "0") != "0"
    return Reporter(silent=True) if is_other else reporter


def part(rows: Any, place: int, n_parts: int) -> Any:
    """Return one of `n_parts` runs of `rows` that differ in length by one at most.

    The first ones are longer: the first of them is empty only if there are no rows.
    """
    size, n_longer = divmod(len(rows), n_parts)
    start = place * size + min(place, n_longer)
    return rows[start : start + size + (place < n_longer)]


def share(rows: Any) -> Any:
    """Return this process's part of the rows of a batch; it may be empty."""
    return part(rows, number(), n_processes())


def sum_gradients(parameters: Iterable[nn.Parameter], resting: Iterable[nn.Parameter] = ()) -> None:
    """Sum the gradients over all processes, in one message per kind of number.

    Args:
        parameters: Those that are trained.
        resting: Those that need not have a gradient; where no process has one, none is made.
    """
    if n_processes() == 1:
        return
    idle = _idle_everywhere(list(resting))
    moving = [each for each in parameters if each.requires_grad]
    for dtype in dict.fromkeys(each.dtype for each in moving):
        same = [each for each in moving if each.dtype == dtype]
        # A process whose share was empty has no gradient, and still takes part.
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in same]
        flat = add_up(torch.cat([piece.flatten() for piece in pieces]))
        sizes = [each.numel() for each in same]
        for parameter, piece in zip(same, torch.split(flat, sizes), strict=True):
            parameter.grad = piece.view_as(parameter)
    for parameter in idle:
        parameter.grad = None


def _idle_everywhere(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    if not parameters:
        return []
    busy = [float(each.grad is not None) for each in parameters]
    counts = add_up(torch.tensor(busy, device=parameters[0].device)).tolist()
    return [each for each, count in zip(parameters, counts, strict=True) if not count]


def add_up(values: Tensor) -> Tensor:
    """Return `values` summed over all processes."""
    if n_processes() > 1:
        with _contact():
            dist.all_reduce(values)
    return values


def any_of(answer: bool) -> bool:
    """Say whether the answer is yes in any process."""
    return answer if n_processes() == 1 else any(gather(answer))


def gather(thing: T) -> list[T]:
    """Return the things of all processes, in their order."""
    if n_processes() == 1:
        return [thing]
    things: list[Any] = [None] * n_processes()
    with _contact():
        dist.all_gather_object(things, thing)
    return things


def from_first(make: Callable[[], T]) -> T:
    """Return what `make` returns, or raise what it raises, in the first process; others wait."""
    if n_processes() == 1:
        return make()
    box: list[Any] = [None, None]
    if is_first():
        try:
            box[0] = make()
        except BiosigError as error:
            box[1] = error
    with _contact():
        dist.broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    made: T = box[0]
    return made


def wait() -> None:
    """Wait until all processes are here."""
    from_first(lambda: None)


def same_weights(module: nn.Module) -> None:
    """Take over the weights of the first process."""
    if n_processes() > 1:
        with _contact():
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)


@contextmanager
def _contact() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"process {number() + 1} of {n_processes()} lost another one: {_first_line(error)}",
            hint="the error of the process that ended first says why; what was saved is kept: "
            "start again with --resume, with as many processes as you like",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
