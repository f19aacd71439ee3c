"""report.html: one file with all that is known of one or more systems, and its plots as PNG."""

from sv.report.page import write_report

__all__ = ["write_report"]
