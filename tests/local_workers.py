"""Dask workers in this very process, where a test can replace stages."""

from contextlib import contextmanager

import pytest


def cluster_here(workers=1, threads=1, **more):
    """A cluster of such workers, for a `with`. They start at once."""
    return pytest.importorskip("distributed").LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **more,
    )


@contextmanager
def in_this_process(workers=1, threads=1, **more):
    """A client of such workers."""
    with cluster_here(workers, threads, **more) as cluster, cluster.get_client() as client:
        yield client
