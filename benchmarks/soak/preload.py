"""Loaded by the workers of a soak (as dask's preload): checkpoints are written after every epoch,
so that small trainings have them too.
"""


def dask_setup(worker):
    from dpkit.training import checkpoint

    checkpoint.WRITE_EVERY = 0.0
