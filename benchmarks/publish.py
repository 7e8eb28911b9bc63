"""`make publish-bench`: the figures of the last `make bench` and of the last forecasts, put into docs and README.

What stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; all else is left as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import forecast
from benchmarks.goals import brief, goals, judged
from benchmarks.tables import page

BENCH, FORECAST = Path("build/bench.json"), Path("build/forecast.json")
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


def main() -> int:
    """Exit status 0 if there was something to publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    text, readme = PAGE.read_text(), README.read_text()
    if BENCH.exists():
        found = json.loads(BENCH.read_text())
        text = between(text, "bench", f"{judged(goals(found))}\n{page(found)}")
        readme = between(readme, "bench", f"{brief(found)}\n{circumstances(found['machine'])}")
    if FORECAST.exists():
        told = json.loads(FORECAST.read_text())
        text = between(text, "forecast", f"{forecast.shown(told)}\n\n{circumstances(told['machine'])}")
    PAGE.write_text(text)
    README.write_text(readme)
    seen = [str(file) for file in (BENCH, FORECAST) if file.exists()]
    print(f"published: {' and '.join(seen) or 'nothing; run `make bench` first'}")
    return 0 if seen else 1


if __name__ == "__main__":
    sys.exit(main())
