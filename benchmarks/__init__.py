"""Ours beside the plain way, interleaved in one process, agreement checked. `make bench` runs them
all.
"""
