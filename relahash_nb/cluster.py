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

    A call whose worker is lost starts elsewhere. A ValueError says that there is no Dask, or no scheduler.
    """
    try:
        from dask.distributed import Client, as_completed

        # One thread a worker: a call at a time, and as many OpenMP threads as its share of the cores.
        local = dict(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
        client = Client(scheduler) if scheduler else Client(**local)  # which closes its own cluster with itself
    except ImportError:
        raise ValueError("workers: needs Dask; pip install 'relahash-nb[cluster]'") from None
    except OSError as error:
        raise ValueError(f"scheduler: {scheduler!r} given, and not to be reached ({error})") from None
    with client:
        there = client.scheduler_info(n_workers=-1)["workers"].values()
        options = dict(retries=1, resources={"GPU": 1} if any("GPU" in one["resources"] for one in there) else None)
        yield from as_completed([client.submit(call, *given, key=key, **options) for key, given in arguments.items()])
