"""Figures of many runs: how they are summed up, kept and shown."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def spread(values: Iterable[float | None]) -> dict[str, float]:
    """Median, 90th percentile (nearest rank) and worst of those that were measured; empty where none was."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {}
    rank = math.ceil(0.9 * len(known)) - 1
    summed = {"median": statistics.median(known), "p90": known[rank], "max": known[-1]}
    return {name: round(value, 2) for name, value in summed.items()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {"cpus": os.cpu_count(), "memory_mib": memory_mib, "kernel": platform.release()}


def commit() -> str:
    """Of godwit, which is measured."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


class Runs:
    """What each run measured, one line of JSON each, so that an interrupted benchmark goes on where it stopped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.all: list[dict[str, Any]] = []
        if file.exists():
            lines = file.read_text().splitlines(keepends=True)
            self.all = [json.loads(line) for line in lines if line.endswith("\n")]
            file.write_text("".join(line for line in lines if line.endswith("\n")))  # one may have been cut off

    def add(self, run: dict[str, Any]) -> None:
        """The run is kept."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps(run) + "\n")
        self.all.append(run)

    def of(self, **wanted: str) -> list[dict[str, Any]]:
        """Those of which all that is so."""
        return [run for run in self.all if all(run.get(key) == value for key, value in wanted.items())]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as Markdown has it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write(file: Path, result: dict[str, Any]) -> None:
    """The result is in the file, whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(file)
