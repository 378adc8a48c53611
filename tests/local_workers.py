"""Dask workers in this very process, where a test can replace stages."""

from contextlib import contextmanager

import pytest


@contextmanager
def in_this_process(workers=1, threads=1, **more):
    """A client of such workers. They start at once."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            **more,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
