"""Examples in docstrings: the names they use without importing them, and where pytest looks."""

from pathlib import Path

import numpy as np
import pytest

import dpkit

TESTS = Path(__file__).parent / "tests"


@pytest.fixture(scope="session", autouse=True)
def names_in_examples(doctest_namespace):
    doctest_namespace.update(dpkit=dpkit, np=np)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path):
    collectors = yield
    if TESTS in file_path.parents:  # else every test file would be imported a second time
        return [found for found in collectors if type(found).__name__ != "DoctestModule"]
    return collectors
