"""Shows a verdict, and keeps it: JSON for machines, Markdown for people, the same data in both."""

from heteropd.proof.report.kept import Paths, compare_reports, find_report, keep, list_reports, read_kept
from heteropd.proof.report.markdown import render
from heteropd.proof.report.terminal import show, show_next

__all__ = [
    "Paths",
    "compare_reports",
    "find_report",
    "keep",
    "list_reports",
    "read_kept",
    "render",
    "show",
    "show_next",
]
