"""Notebooks as tested reports: run strictly, judged, turned into a page."""

from dpkit.reports.run import (
    Interrupted,
    Refused,
    Report,
    Text,
    Verdict,
    begin,
    run_report,
    text_table,
)

__all__ = [
    "Interrupted",
    "Refused",
    "Report",
    "Text",
    "Verdict",
    "begin",
    "run_report",
    "text_table",
]
