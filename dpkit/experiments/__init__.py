"""Stages and their cache, trials, grids, sweeps, results, publishing, pruning."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
