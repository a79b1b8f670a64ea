"""The report: what a store and the package hold, as one HTML page that loads nothing.

save_report("runs", "report.html")
"""

from __future__ import annotations

from grokinterp.report.report_page import build_report, save_report

__all__ = ["build_report", "save_report"]
