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


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_columns_that_change_their_names_are_told(page):
    text = prose(read(ROOT / page))
    for names in (
        "| random | DUAL |",
        "| D2 | Dyn-Unc |",
        "| DUAL+β, c_D = 5.5 | DUAL+β, c_D = 4 |",
    ):
        left, right = names.strip("| ").split(" | ")
        if names in text:
            swapped = text.replace(names, f"| {right} | {left} |", 1)
            assert "in the comment" in claims.problems(page, swapped)[0]


# ---- what is wrong is told -----------------------------------------------------------------------

DUAL = "<!-- from dual-cifar10-small_cnn: {} -->"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("83.4 points. " + DUAL.format("83.4 = dual at 55 %"), "no row of it in results/dual-"),
        (
            "83.4 points. " + DUAL.format("83.4 = daul at 50 %"),
            "there are random at 0 %, random at",
        ),
        (
            "83.4 <!-- from dual-cifar: 83.4 = dual at 50 % -->",
            "there is no table results/dual-cif",
        ),
        ("82.4 points. " + DUAL.format("82.4 = dual at 50 %"), "dual-cifar10-small_cnn give 83.4"),
        ("83.4 ± 0.3 " + DUAL.format("83.4 ± 0.3 = dual at 50 %"), "give 83.43, 0.15716, not"),
        ("83.5 points. " + DUAL.format("83.4 = dual at 50 %"), "the text does not say 83.4"),
        ("83.4 points. " + DUAL.format("83.4"), "expected VALUES = WHAT"),
        ("83.4 points. " + DUAL.format("83.4 = dual at fifty"), "no row of it"),
        (
            "behind " + DUAL.format("behind = dual at 50 % minus random"),
            "after Holm's correction it is ahead, not 'behind'",
        ),
        (
            "1.2 [0.9, 1.7] " + DUAL.format("1.2 [0.9, 1.7] = dual at 50 % minus random"),
            "give 1.2167, 0.85027, 1.5831, not",
        ),
        (
            "0.3 <!-- from eeprune-cifar10-small_cnn: 0.3 = eeprune at 50 % minus random -->",
            "of two kinds of processor",
        ),
        (
            "80.0 <!-- from network-or-schedule-cifar10: 80.0 = random at 0 % -->",
            "of several networks",
        ),
        ("28 <!-- from benchmarks.json: 28 = ratio of dual -->", "its rows are data path, 28x28"),
        (
            "1.4 <!-- from influence-cifar10-small_cnn: 1.4 = moves of dual at 50 % -->",
            "no such column of a row in results/influence",
        ),
        (
            "DUAL reaches 83.4 % here.",
            "page, line 1: no comment says from which rows 83.4 come; add",
        ),
        (
            "One point\n\nDUAL leads by 1.2 [0.9, 1.6].",
            "page, line 3: no comment says from which rows",
        ),
        ("* 83.4 ± 0.2\n* 83.5 <!-- published by Cho et al. -->", "line 1: no comment says"),
        (
            "| pruned | DUAL |\n|---|---|\n| 50 % | 83.4 |",
            "line 1: no comment says from which rows 83.4",
        ),
        (
            DUAL.format("| pruned | dual |") + "\n| a | b |\n|---|---|\n| 50 % | 82.9 |",
            "give 83.43",
        ),
        (
            DUAL.format("| pruned | dual | - |") + "\n| a | b |\n|---|---|\n| 50 % | 83.4 |",
            "the table has 2 columns, and the comment names 3",
        ),
        (
            DUAL.format("| pruned | dual minus random |")
            + "\n| a | b |\n|---|---|\n| 50 % | 1.2 [0.9, 1.6] |",
            "it is ahead, not '1.2 [0.9, 1.6]'",
        ),
        (
            DUAL.format("| pruned | kept | dual |")
            + "\n| a | k | b |\n|---|---|---|\n| 50 % | 24,000 | 83.4 |",
            "give 25000, not 24,000",
        ),
    ],
)
def test_a_number_without_its_row_is_told(text, reason):
    found = claims.problems("page", text)
    assert reason in found[0] and found[0].startswith("page, line ")


@pytest.mark.parametrize(
    "text",
    [
        "83.4 ± 0.2 and 1.2 [0.9, 1.6], ahead. "
        + DUAL.format(
            "83.4 ± 0.2 = dual at 50 %; 1.2 [0.9, 1.6] ahead = dual at 50 % minus random"
        ),
        "2.6 behind " + DUAL.format("2.6 not told = random at 70 % minus dual+beta"),
        "5.5 points worse " + DUAL.format("5.5 ahead = random at 70 % minus dual"),
        "at 90 % 60.0 <!-- published by Cho et al., 2025 -->",
        "in all 98.5 % <!-- not a result: the share of a disk -->",
        "Python 3.11.7, torch 2.14.1, 0.24 M, `83.4 ± 0.2`, $83.4$, at 50 %, 3,900 steps",
    ],
)
def test_a_number_with_its_row_or_a_reason_is_not(text):
    assert claims.problems("page", text) == []


def test_in_a_lesson_only_spreads_and_intervals_ask_for_a_row():
    assert claims.problems("lesson", "97.4 % of them", claims.IN_LESSONS) == []
    assert claims.problems("lesson", "6.7 points [3.7, 9.7]", claims.IN_LESSONS) != []
    printed = "6.7 points [3.7, 9.7] <!-- printed by preset classroom -->"
    assert claims.problems("lesson.ipynb", printed, claims.IN_LESSONS) == []
    assert claims.problems("page.md", printed) != []  # a page prints nothing
