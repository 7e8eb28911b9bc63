"""The log: set up once; JSON for programs, one readable line each on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

import structlog

from godwit.contract.store import MigrationRecord
from godwit.core.errors import Invalid
from godwit.core.migration import Event, EventKind

LEVELS = ("debug", "info", "warning", "error")

_LEVEL_OF = {EventKind.progressed: logging.DEBUG, EventKind.warned: logging.WARNING}


def set_up(stream: TextIO | None = None) -> None:
    """All loggers of this process write to `stream` (standard error) from GODWIT_LOG's level on; `Invalid` if unknown.

    What `structlog.contextvars.bound_contextvars(migration=...)` binds is in every line.
    """
    stream = stream or sys.stderr
    level = os.environ.get("GODWIT_LOG", "info").lower()
    if level not in LEVELS:
        raise Invalid(f"GODWIT_LOG is {level!r}, which is no level: set it to one of {', '.join(LEVELS)}", "log-level")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(is_terminal=stream.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def log_event(record: MigrationRecord, event: Event) -> None:
    """An observer of the feed: each event is a line."""
    migration = record.migration
    with structlog.contextvars.bound_contextvars(migration=migration.id, vm=migration.vm, at_ms=event.at_ms):
        logging.getLogger("godwit.migration").log(_LEVEL_OF.get(event.kind, logging.INFO), "%s", event.text)


def _formatter(*, is_terminal: bool) -> logging.Formatter:
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if is_terminal:
        last: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=processors, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
