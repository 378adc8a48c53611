"""Networks in stages, one family a file; early exits and what leaving early saves."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
