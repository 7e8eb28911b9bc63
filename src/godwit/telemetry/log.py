"""The log: set up once; JSON for programs, one readable line each on a terminal."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TextIO

import structlog

from godwit.contract.store import MigrationRecord
from godwit.core.errors import Invalid
from godwit.core.migration import Event, EventKind

LEVELS = ("debug", "info", "warning", "error")
QUIET = {"asyncio": logging.WARNING, "uvicorn": logging.WARNING, "httpx": logging.WARNING, "qemu.qmp": logging.WARNING}
"""What other people's modules may say, unless GODWIT_LOG names them."""

_MODULE = re.compile(r"[a-z_][a-z0-9_.]*")
_LEVEL_OF = {EventKind.progressed: logging.DEBUG, EventKind.warned: logging.WARNING}


def set_up(stream: TextIO | None = None) -> None:
    """All loggers of this process write to `stream` (standard error) from GODWIT_LOG's levels on; `Invalid` if unknown.

    GODWIT_LOG is a level, and levels of modules, such as `info,qemu=debug,uvicorn=info`: `qemu` means `godwit.qemu`.
    What `structlog.contextvars.bound_contextvars(migration=...)` binds is in every line.
    """
    stream = stream or sys.stderr
    level, modules = parse_levels(os.environ.get("GODWIT_LOG", "info"))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(stream))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, of_module in {**QUIET, **modules}.items():
        logging.getLogger(name).setLevel(of_module)


def parse_levels(text: str) -> tuple[int, dict[str, int]]:
    """The level of all, and those of single loggers by their name; `Invalid` says which word is wrong."""
    level, modules = logging.INFO, {}
    for word in filter(None, (each.strip() for each in text.lower().split(","))):
        module, _, name = word.rpartition("=")
        if name not in LEVELS or not (_MODULE.fullmatch(module) or word == name):
            raise Invalid(
                f"GODWIT_LOG has {word!r}, which is no level: set it to one of {', '.join(LEVELS)}, with those of "
                "single modules after it, such as info,qemu=debug",
                "log-level",
            )
        number = logging.getLevelNamesMapping()[name.upper()]
        if module:
            modules[_logger_name(module)] = number
        else:
            level = number
    return level, modules


def log_event(record: MigrationRecord, event: Event) -> None:
    """An observer of the feed: each event is a line."""
    migration = record.migration
    with structlog.contextvars.bound_contextvars(migration=migration.id, vm=migration.vm, at_ms=event.at_ms):
        logging.getLogger("godwit.migration").log(_LEVEL_OF.get(event.kind, logging.INFO), "%s", event.text)


def _logger_name(module: str) -> str:
    """Other people's by their full name, ours with or without `godwit.`."""
    return module if module.split(".")[0] in {"godwit", *QUIET} else f"godwit.{module}"


def _formatter(stream: TextIO) -> logging.Formatter:
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if stream.isatty():
        last: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=processors, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
