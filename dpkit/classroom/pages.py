"""The pages of the grading: feedback for a student, a summary without names. They load nothing."""

import errno
import multiprocessing
import os
import signal
import statistics
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from dpkit import storage
from dpkit.classroom.marker import headline
from dpkit.classroom.tables import GRADES
from dpkit.reports.page import cell_html, document

LARGEST = 50_000  # characters of one cell that are shown
SECONDS = 60  # that a feedback page may take: some texts take a parser hours
FULL = 3  # exit code of the process that makes a page: the disk is full, or may not be written to


def write_feedback(
    path: str | Path, row: dict, steps: Sequence[dict], results: dict, comments: dict
) -> str | None:
    """Write a student's page, in its own process. Returns None; or why it holds points alone.

    Raises OSError if the disk is full. The arguments are feedback_page's.
    """
    work = (path, row, steps, results, comments)
    # fork: it starts at once
    process = multiprocessing.get_context("fork").Process(target=_make, args=work)
    process.start()
    process.join(SECONDS)
    late = process.exitcode is None
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    if process.exitcode == FULL:
        raise OSError(errno.EIO, "the disk is full, or nothing may be written there", str(path))
    why = (
        f"making it took longer than {SECONDS} seconds"
        if late
        else "what was handed in cannot be shown"
    )
    _write(
        path,
        document(
            escape(f"{row['student']}: {row['assignment']}"),
            _head(row),
            [f'<p class="note">Only the points stand here, as {why}.</p>'],
        ),
    )
    return why


def _make(path, *told):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _write(path, feedback_page(*told))
    except OSError:
        os._exit(FULL)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _write(path, text):
    with storage.whole_file(path) as file:
        file.write(text.encode(errors="replace"))


def feedback_page(row: dict, steps: Sequence[dict], results: dict, comments: dict) -> str:
    """What one student gets back.

    row: the student's row.
    steps: as merged.
    results: number of a step, as text -> what the marker said of it.
    comments: question -> the teacher's words on a written answer.
    """
    from nbformat.v4 import new_code_cell, new_markdown_cell

    body = []
    headings: list[tuple] = []
    for number, step in enumerate(steps):
        done = results.get(str(number))
        if step["kind"] == "code":
            cell = new_code_cell(step["shown"][:LARGEST])
            cell.outputs = [_node(output) for output in done["outputs"]] if done else []
        elif step["kind"] == "markdown":
            cell = new_markdown_cell(step["shown"][:LARGEST])
        else:
            continue
        # no file is read for anybody's text
        body.append(cell_html(cell, None, headings, plain=step["own"]))
        body.append(_mark(step, done, comments.get(step["name"])))
    return document(escape(f"{row['student']}: {row['assignment']}"), _head(row), body, headings)


def _node(output):
    from nbformat import from_dict

    return from_dict(output)


def _mark(step, done, comment) -> str:
    if not step["points"]:
        return "" if step["answered"] else '<p class="note">not answered</p>'
    points = step.get("got")
    mark = (
        "to be read"
        if points is None
        else f"{points:g} of {step['points']:g} {_points(step['points'])}"
    )
    words = f"<p>{escape(comment)}</p>" if comment else ""
    if done is None and step["role"] == "test":
        words += '<p class="note">not tested: the grading of this notebook ended before</p>'
    return f'<p class="note"><strong>{escape(step["name"])}: {mark}</strong></p>{words}'


def _points(count) -> str:
    return "point" if count == 1 else "points"


def _head(row) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        f"<td>{'to be read' if got is None else f'{got:g}'}</td><td>{most:g}</td></tr>"
        for name, (got, most) in row["questions"].items()
    )
    still = ", more after reading" if row["to read"] else ""
    remark = f'<p class="facts">{escape(row["remark"])}</p>' if row["remark"] else ""
    return (
        f'<header><p class="verdict plain">{row["total"]:g} of {row["max"]:g} '
        f"{_points(row['max'])}{still}</p>"
        f'<p class="facts">{escape(row["student"])} · {escape(row["assignment"])}</p>{remark}'
        "<table><thead><tr><th>question</th><th>points</th><th>of</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></header>"
    )


# ---- the summary ---------------------------------------------------------------------------------


def summary_page(rows: Sequence[dict]) -> str:
    """For each assignment: how many handed in, the mean of every question, common messages."""
    stems = list(dict.fromkeys(row["assignment"] for row in rows if row["questions"]))
    body, headings = [], []
    for stem in stems:
        graded = [row for row in rows if row["assignment"] == stem and row["questions"]]
        headings.append((2, f"a-{stem}", escape(stem)))
        body.append(
            '<section class="prose"><h2 '
            f'id="a-{escape(stem)}">{escape(stem)}</h2>{_about(graded)}</section>'
        )
    # names come after the colon
    refused = Counter(row["remark"].partition(":")[0] for row in rows if not row["questions"])
    if refused:
        headings.append((2, "not-graded", "Not graded"))
        body.append(
            '<section class="prose"><h2 id="not-graded">Not graded</h2>'
            + _table(
                ["why", "submissions"],
                [[escape(why), str(count)] for why, count in refused.most_common()],
            )
            + "</section>"
        )
    header = (
        f'<header><h1>Summary</h1><p class="facts">{len(rows)} rows in {GRADES}; no student '
        "is named here.</p></header>"
    )
    return document("Summary", header, body, headings)


def _about(rows) -> str:
    totals, unread = [row["total"] for row in rows], any(row["to read"] for row in rows)
    text = (
        f"<p>{len(rows)} submission{'s' * (len(rows) != 1)}; total {statistics.fmean(totals):.1f} "
        f"of {rows[0]['max']:g} on average, {min(totals):g} to "
        f"{max(totals):g}{', before all is read' if unread else ''}.</p>"
    )
    lines = []
    for name, (_, most) in rows[0]["questions"].items():
        got = [row["questions"][name][0] for row in rows if name in row["questions"]]
        read = [points for points in got if points is not None]
        mean = f"{statistics.fmean(read):.2f}" if len(read) == len(got) else "not read yet"
        lines.append(
            [
                escape(name),
                mean,
                f"{most:g}",
                str(sum(points == most for points in read)),
                str(len(got) - len(read)),
            ]
        )
    text += _table(["question", "mean", "of", "full points", "to read"], lines)
    said = Counter(
        message
        for row in rows
        for message in {(question, headline(told)) for question, told in row["messages"]}
    )
    if said:
        text += "<h3>The commonest messages</h3>" + _table(
            ["students", "question", "message"],
            [
                [str(count), escape(question), escape(told)]
                for (question, told), count in said.most_common(20)
            ],
        )
    return text


def _table(names, lines) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{entry}</td>" for entry in line) + "</tr>" for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
