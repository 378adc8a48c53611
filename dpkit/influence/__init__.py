"""What taking samples away does to the last layer: vectors, Hessian, solvers, refits, the bound."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
