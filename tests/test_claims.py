"""Every measured number in the pages has its row: see claims.py."""

import json

import claims
import pytest
from test_docs import PAGES, ROOT, name_of, prose, read

TEXTS = [*PAGES, ROOT / "results" / "README.md"]
REPRODUCTIONS = sorted((ROOT / "notebooks" / "reproductions").glob("*.ipynb"))
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_the_numbers_of_a_page_are_those_of_its_rows(page):
    assert claims.problems(name_of(page), prose(read(page))) == []


@pytest.mark.parametrize("notebook", [*REPRODUCTIONS, *LESSONS], ids=name_of)
def test_the_numbers_of_a_notebook_are_those_of_its_rows(notebook):
    """In a lesson only what has a spread or an interval: its other numbers are of its own run."""
    looks = claims.IN_LESSONS if notebook in LESSONS else claims.LOOKS
    found = []
    for at, cell in enumerate(json.loads(read(notebook))["cells"]):
        if cell["cell_type"] == "markdown":
            text = prose("".join(cell["source"]))
            found += claims.problems(f"{name_of(notebook)}, cell {at}", text, looks)
    assert found == []
