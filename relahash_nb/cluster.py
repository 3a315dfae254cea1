"""Calls on a Dask cluster: a local one, or one that is there."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from relahash_nb.options import Options, option


class ClusterOptions(Options):
    """Of commands whose work can be shared."""

    workers: Annotated[int, Field(ge=1, le=10_000)] | None = option(
        None, "processes of a local Dask cluster; default: this process, without a cluster"
    )
    scheduler: str | None = option(None, "address of a running Dask scheduler, such as tcp://host:8786")


def on_cluster(
    call: Callable, arguments: Mapping[str, tuple], workers: int | None, scheduler: str | None
) -> Iterator[Any]:
    """Dask's futures of calls by their keys, as they end: one call at a time on each worker, each tried twice.

    A call whose worker is lost starts elsewhere.

    Args:
        call: What each worker does; it and its arguments can be pickled.
        arguments: Of each call, by its key.
        workers: Processes of a local cluster, which is closed at the end.
        scheduler: Address of a cluster that is there, instead.

    Raises:
        ValueError: There is no Dask, or no scheduler at this address.
    """
    try:
        from dask.distributed import as_completed
    except ImportError:
        raise ValueError("workers: needs Dask; pip install 'relahash-nb[cluster]'") from None
    with _connect(workers, scheduler) as client:
        connected = client.scheduler_info(n_workers=-1)["workers"].values()
        has_gpus = any("GPU" in worker["resources"] for worker in connected)
        options = {"retries": 1, "resources": {"GPU": 1} if has_gpus else None}
        futures = [client.submit(call, *values, key=key, **options) for key, values in arguments.items()]
        yield from as_completed(futures)


def _connect(workers: int | None, scheduler: str | None) -> Any:
    """Dask's client of a cluster."""
    from dask.distributed import Client

    if scheduler is None:  # one thread a worker: a call at a time, and as many OpenMP threads as its share of the cores
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
    try:
        return Client(scheduler)
    except OSError as error:
        raise ValueError(f"scheduler: {scheduler!r} given, and not to be reached ({error})") from None
