"""report.html: one page with the results, plots and training of one or more systems; plots also as PNG."""

from sv.report.page import write_report

__all__ = ["write_report"]
