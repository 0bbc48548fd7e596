"""Records to parts, by workers: this process, others on this machine, or those of a cluster."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from biosig_cli.core.errors import BiosigError, DataError
from biosig_cli.data.parts import write_part
from biosig_cli.data.readers.base import Source, read_with_targets
from biosig_cli.data.windows import WindowRecipe, cut_record


@dataclass(frozen=True)
class Task:
    """One record, and where its windows go."""

    record: str
    subject: str
    part: Path
    name: str
    """What the record is called in the store."""
    missing: str = ""
    """Why there is no recording to read."""
    fingerprint: str = ""
    """What the source says of its file, for workers elsewhere to see that they have the same."""


T = TypeVar("T")
Outcome = tuple[str, str]
"""The id of a record and why it has no part, empty where it has one."""


@dataclass
class Maker:
    """Makes parts; each process has one."""

    source: Source
    recipe: WindowRecipe

    def make(self, task: Task) -> Outcome:
        """Make the part of a record; return its id and why there is none, empty when there is.

        Raises:
            DataError: If the part can't be written, which no other record would change.
        """
        if task.missing:
            return task.record, task.missing
        try:
            recipe = self.recipe
            record = read_with_targets(self.source, task.record, recipe.channels, recipe.denoise)
            windows = cut_record(record, recipe, subject=task.subject)
        except BiosigError as error:
            return task.record, str(error)
        except Exception as error:
            # One odd recording out of thousands must not stop the night's work; it is counted.
            return task.record, f"unexpected {type(error).__name__}: {error}"
        write_part(task.part, replace(windows, record=task.name))
        return task.record, ""


Workers = AbstractContextManager[Callable[[Task], Future[Outcome]]]
"""Who makes parts: while it is open, it takes tasks and promises their outcomes."""


def make_parts(tasks: Iterable[Task], workers: Workers) -> Iterator[Outcome]:
    """Have all parts made, and yield what `Maker.make` says of each as it is done.

    Args:
        tasks: The records, each when its file is here; work goes on while the next one is awaited.
        workers: Who makes their parts.

    Raises:
        DataError: If a part can't be written, or the workers are lost.
    """
    with workers as take:
        waiting = set()
        for task in tasks:
            waiting.add(take(task))
            done = {future for future in waiting if future.done()}
            waiting -= done
            yield from (future.result() for future in done)
        yield from (future.result() for future in as_completed(waiting))


@contextmanager
def local_workers(maker: Maker, n_workers: int) -> Iterator[Callable[[Task], Future[Outcome]]]:
    """Make parts on this machine, in so many processes; one is this process.

    Raises:
        DataError: If a process died.
    """
    if n_workers <= 1:
        yield partial(_at_once, maker)
        return
    with _one_thread_each():
        before = set(active_children())
        pool = ProcessPoolExecutor(
            n_workers,
            # Started afresh: a copy of a process with threads may inherit a lock for ever.
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=(maker,),
        )
        try:
            # All are started first: one that the pool starts with its last task may die unseen.
            for _ in range(n_workers):
                _submit(pool, os.getpid)
            yield lambda task: _submit(pool, _make, task)
        except BrokenProcessPool:
            # One that was being started as another died is not ended by the pool, which waits
            # for it.
            for process in set(active_children()) - before:
                process.kill()
            raise DataError(
                "a process that reads recordings died, most likely for lack of memory",
                hint="run the command again with fewer --workers; finished cases are kept",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Callable[..., T], *given: Any) -> Future[T]:
    """Give a pool something to do.

    Raises:
        BrokenProcessPool: If a process died, also where another one can't be started for it.
    """
    try:
        return pool.submit(function, *given)
    except OSError as error:
        raise BrokenProcessPool(str(error)) from None


def _at_once(maker: Maker, task: Task) -> Future[Outcome]:
    done: Future[Outcome] = Future()
    done.set_result(maker.make(task))
    return done


_makers: list[Maker] = []
"""The maker of this process, where it is one of several."""


def _start(maker: Maker) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops its workers
    Thread(target=_end_with_parent, daemon=True).start()
    _makers[:] = [maker]


def _end_with_parent() -> None:
    """End when the main process is killed, which could not tell its workers."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(task: Task) -> Outcome:
    return _makers[0].make(task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep the numeric libraries of the processes from taking all cores each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
