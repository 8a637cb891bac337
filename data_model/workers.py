"""Doing many pieces of work side by side: in this process, on its cores, or on a cluster of `dask.distributed`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from deeptracker.data_model.errors import WorkersError

if TYPE_CHECKING:
    from collections.abc import Callable

Task = TypeVar("Task")
Result = TypeVar("Result")

_PATIENCE = 10
"""Seconds for which a scheduler may fail to answer."""


class Each(Protocol):
    """Does a piece of work for each task."""

    def __call__(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterable[Result]:
        """Return what `work` makes of each task, in the order in which they are done; the first error ends all."""


@contextmanager
def crew(*, workers: int = 1, scheduler: str | None = None, threads: bool = False) -> Iterator[Each]:
    """Give what shares work out, and let the workers go at the end; what is not done by then is not begun.

    `workers` processes of this machine share it; 1 does all in this process. With `threads` they are threads of this
    process, which begin at once: for work that is mostly compiled code and files. With `scheduler`, the address of a
    running scheduler of `dask.distributed` (`tcp://host:8786`), its workers do: DeepTracker must be installed there,
    and what tasks name must be within reach. WorkersError where the work cannot be shared like this.
    """
    if workers < 1:
        raise WorkersError(f"{workers} workers were asked for; 1 or more can share the work.")
    if scheduler is not None:
        with _cluster(scheduler) as client:
            yield partial(_on_cluster, client)
    elif workers == 1:
        yield _here
    else:
        with _pool(workers, threads) as pool:
            yield partial(_on_cores, pool)


def _here(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    return map(work, tasks)


@contextmanager
def _pool(workers: int, threads: bool) -> Iterator[Executor]:
    # Processes are started anew and not forked: threads that zarr or numba have started would be missing in a fork.
    anew = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(workers) if threads else ProcessPoolExecutor(workers, mp_context=anew) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _on_cores(pool: Executor, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    for done in as_completed([pool.submit(work, task) for task in tasks]):
        yield done.result()


@contextmanager
def _cluster(scheduler: str) -> Iterator[Any]:
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise WorkersError(
            f"A scheduler needs {error.name}. Install it with: pip install 'deeptracker[cluster]'"
        ) from error
    try:
        client = distributed.Client(scheduler, set_as_default=False, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise WorkersError(
            f"No scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler`, and give its address, "
            "such as tcp://host:8786."
        ) from error
    with client:
        yield client


def _on_cluster(client: Any, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    import distributed

    # Not pure: what is done once may have to be done again later, of the same files.
    futures = client.map(work, list(tasks), pure=False)
    for _, result in distributed.as_completed(futures, loop=client.loop, with_results=True):
        yield result
