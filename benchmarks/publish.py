"""`make publish-bench`: the figures of `make bench`, by QEMU, and of the last forecasts, put into docs and README.

Of each QEMU the full run counts if it has every case, else the quick one; the README has the installed QEMU's only.
What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; all else is left as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import forecast
from benchmarks.cases import CASES, HOPELESS, QUICK, home_of
from benchmarks.goals import brief, goals, judged
from benchmarks.tables import extent, page

QEMUS = (None, "10")
"""The installed one, and of which major version the other is."""
FORECAST = Path("build/forecast.json")
PAGE, README = Path("docs/benchmarks.md"), Path("README.md")


def between(text: str, name: str, new: str) -> str:
    """The text with that in the place of that name; `ValueError` if there is no such place, or several."""
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, count = place.subn(lambda found: f"{found[1]}\n{new.strip()}\n\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"<!-- {name} --> is there {count} times")
    return text


def circumstances(machine: dict[str, Any]) -> str:
    """What was measured on, and when."""
    words = [f"{name} {value}" for name, value in machine.items() if value not in ("", None)]
    return f"Measured on: {', '.join(words)}.\n"


def measured() -> Iterator[tuple[Path, dict[str, Any]]]:
    """By QEMU what is published: the file, and what is in it."""
    for qemu in QEMUS:
        files = [Path("build", home_of(quick=quick, qemu=qemu), "bench.json") for quick in (False, True)]
        there = {file: json.loads(file.read_text()) for file in files if file.exists()}
        if there:
            whole = [file for file, found in there.items() if is_whole(found)]
            file = next(iter(whole or there))
            yield file, there[file]


def is_whole(found: dict[str, Any]) -> bool:
    """It has every case that a run of its kind has, however few moves of each."""
    wanted = QUICK if found["kind"] == "quick" else [each.name for each in (*CASES, HOPELESS)]
    return {each["case"] for each in found["cases"]} >= set(wanted)


def _all(found: dict[str, Any]) -> str:
    return f"### QEMU {found['machine']['qemu']}\n\n{judged(goals(found))}\n{page(found)}"


def _short(found: dict[str, Any]) -> str:
    return f"QEMU {found['machine']['qemu']}:\n\n{brief(found)}\n{extent(found)} {circumstances(found['machine'])}"


def publish() -> list[str]:
    """What was published: the files that it comes from, each with how much of it there is."""
    text, readme = PAGE.read_text(), README.read_text()
    benches = list(measured())
    if benches:
        text = between(text, "bench", "\n".join(_all(found) for _, found in benches))
        readme = between(readme, "bench", _short(benches[0][1]))
    if FORECAST.exists():
        told = json.loads(FORECAST.read_text())
        text = between(text, "forecast", f"{forecast.shown(told)}\n\n{circumstances(told['machine'])}")
    PAGE.write_text(text)
    README.write_text(readme)
    seen = [f"{file} ({extent(found).rstrip('.')})" for file, found in benches]
    return seen + ([str(FORECAST)] if FORECAST.exists() else [])


def main() -> int:
    """Exit status 0 if there was something to publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    seen = publish()
    print(f"published: {' and '.join(seen) or 'nothing; run `make bench` first'}")
    return 0 if seen else 1


if __name__ == "__main__":
    sys.exit(main())
