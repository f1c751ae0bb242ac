"""The report of a measured pose model: one HTML file, and its plots and pictures as PNG files."""

from training.pose.report.write import write_report

__all__ = ["write_report"]
