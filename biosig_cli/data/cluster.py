"""Records to parts on the workers of a Dask cluster: the same units, made elsewhere.

A worker sees recordings and store by the same paths as the command, on a disk that all share. It
must have the same packages, too, or the store would depend on who made which part. What a worker
was at when it died is given to another.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any
from uuid import uuid4

from biosig_cli.core.artifacts import provenance
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.work import Maker, Outcome, Task

CONNECT_S = 5.0
"""How long the scheduler is waited for."""
COUNTS = ("numpy", "scipy", "sleepecg", "pywavelets", "vitaldb", "wfdb", "mne")
"""Packages that decide what windows are like."""

_turn = Lock()
"""Held by the one record that a worker is at: the memory of several was not promised."""


@contextmanager
def cluster_workers(
    maker: Maker, scheduler: str, reporter: Reporter
) -> Iterator[Callable[[Task], Future[Outcome]]]:
    """Have parts made by the workers of a Dask cluster.

    Args:
        maker: What makes the parts; each worker gets a copy.
        scheduler: Address of its scheduler, such as `tcp://host:8786`.
        reporter: Is told where there is nobody to work.

    Raises:
        ConfigError: If Dask is not installed, or the scheduler does not answer.
        DataError: If the scheduler is lost, a record ends one worker after another, or a worker
            lacks a file or has other packages.
    """
    distributed = _distributed()
    client = _connect(distributed, scheduler)
    try:
        if not client.nthreads():
            reporter.warn(f"{scheduler} has no workers yet; the work begins with the first")
        executor, this_time = client.get_executor(pure=False), uuid4().hex
        # Made on a worker, not sent to it: it is made again where the one that has it dies.
        there = client.submit(Maker, maker.source, maker.recipe, pure=False)

        def take(task: Task) -> Future[Outcome]:
            key = f"{task.record} {this_time}"
            # Made here, so that a worker that does not see it has another disk.
            task.part.parent.mkdir(parents=True, exist_ok=True)
            promised: Future[Outcome] = executor.submit(make_part, there, task, versions(), key=key)
            return promised

        yield take
    except distributed.KilledWorker as error:
        raise DataError(
            f"record {str(error.task).split()[0]}: {error.allowed_failures + 1} workers died of it",
            hint="most likely for lack of memory: start workers with more, or leave the record "
            "out; run the command again to go on, finished cases are kept",
        ) from None
    except ModuleNotFoundError as error:
        raise DataError(
            f"a Dask worker can't make windows: {error}", hint="install biosig on the workers"
        ) from None
    except CancelledError:
        raise DataError(
            f"the Dask scheduler at {scheduler} is lost",
            hint="start it and run the command again; finished cases are kept",
        ) from None
    finally:
        client.close()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"a Dask cluster needs the package distributed ({error})",
            hint="install it here and on the workers: pip install 'biosig[cluster]'",
        ) from None
    return distributed


def _connect(distributed: Any, scheduler: str) -> Any:
    try:
        return distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {scheduler}: {error}",
            hint="`dask scheduler` starts one and prints its address; "
            "`dask worker ADDRESS --nthreads 1` starts a worker",
        ) from None


@cache
def versions() -> dict[str, str]:
    """Return the versions of what decides what windows are like."""
    facts = provenance(*COUNTS)
    return {"biosig": facts["biosig_version"], **facts["packages"]}


def make_part(maker: Maker, task: Task, made_with: Mapping[str, str]) -> Outcome:
    """Make a part on a worker.

    Raises:
        DataError: If the worker has other packages, or not the same files, which is nothing that
            the next record would change.
    """
    here, name = versions(), socket.gethostname()
    other = [
        f"{each} {has}, not {made_with[each]}"
        for each, has in here.items()
        if has != made_with[each]
    ]
    if other:
        raise DataError(
            f"the Dask worker on {name} has {', '.join(other)}",
            hint="install the same versions there: windows must not depend on who makes them",
        )
    if not task.part.parent.is_dir():
        raise _not_shared(name, f"does not see {task.part.parent}")
    if not task.missing and maker.source.fingerprint(task.record) != task.fingerprint:
        raise _not_shared(name, f"does not see the recording of {task.record} that is seen here")
    with _turn:
        return maker.make(task)


def _not_shared(worker: str, what: str) -> DataError:
    return DataError(
        f"the Dask worker on {worker} {what}",
        hint="workers need recordings and --outdir by the same paths, on a disk that all share",
    )
