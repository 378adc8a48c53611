"""The names that examples in docstrings use without importing them, as in numpy's own docstrings."""

import numpy as np
import pytest

import dpkit


@pytest.fixture(scope="session", autouse=True)
def names_in_examples(doctest_namespace):
    doctest_namespace.update(dpkit=dpkit, np=np)
