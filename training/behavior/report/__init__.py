"""The report of a measured behavior model: one HTML file, and its pictures as PNG files."""

from training.behavior.report.ethogram import ethogram
from training.behavior.report.write import write_report

__all__ = ["ethogram", "write_report"]
