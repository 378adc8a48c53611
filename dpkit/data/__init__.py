"""Image sets: named ones, arrays, class folders; label noise and toy sets."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
