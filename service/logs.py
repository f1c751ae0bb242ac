"""Logs of the service: one JSON object a line, or colored text on a terminal."""

import logging
import sys
from typing import Literal

import structlog


def configure_logs(style: Literal["json", "text"], level: str = "info") -> None:
    """Send all logs to standard error in `style`, from `level` (debug, info, warning, error) on."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
