"""`make torture`: every victim at every point, or some drawn by a seed; goes on where it stopped.

python -m tests.torture.run [--cases N] [--seed S] [--out build/torture.json] [--only TEXT]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.torture.cases import VICTIMS, Case, Goes, Outcome, Rig, drawn, matrix, run
from tests.torture.rig import torture_rig

from godwit.core.errors import GodwitError

PER_LAB = 40
"""After so many cases another lab is made, so that nothing that grows slowly hides a fault or makes one."""


def main(argv: list[str]) -> int:
    """Exit status 0 if every case that was tried ended as it must."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    options = _options(argv)
    done = _read(options)
    for _ in range(options.labs):
        left = _try_some(options, done)
        print(f"{left} cases are left", flush=True)
        if not left:
            break
    else:
        return 2
    bad = [each for each in done.values() if each["problems"]]
    print(f"{len(done)} cases, {len(bad)} of them with problems", flush=True)
    return 1 if bad else 0


def _interrupted(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=0, help="so many, drawn by the seed; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="default: build/torture.json, or build/torture-both.json and so on")
    parser.add_argument("--goes", type=Goes, choices=list(Goes), default=Goes.memory, help="both: the disk with its VM")
    parser.add_argument("--part", default="1/1", help="2/3: the second third, for three runs side by side")
    parser.add_argument("--labs", type=int, default=1000, help="stop after so many labs; exit status 2: go on later")
    parser.add_argument("--again", action="store_true", help="what went wrong is tried again")
    parser.add_argument("--only", default="", help="cases whose victim or place has this in it")
    options = parser.parse_args(argv)
    name = "torture" if options.goes is Goes.memory else f"torture-{options.goes}"
    options.out = options.out or Path("build") / f"{name}.json"
    return options


def _read(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """What an earlier run with the same seed has tried."""
    if not options.out.exists():
        return {}
    told = json.loads(options.out.read_text())
    cases = told["cases"] if told["seed"] == options.seed else []
    return {_key(each["victim"], each["at"]): each for each in cases if not (options.again and each["problems"])}


def _try_some(options: argparse.Namespace, done: dict[str, dict[str, object]]) -> int:
    """A lab's worth of cases; how many are left."""
    logs = options.out.with_suffix(".logs") / str(int(time.time()))
    with torture_rig(keep_logs=logs, goes=options.goes) as rig:
        todo = [each for each in _cases(options, rig) if _key(each.victim, each.at) not in done]
        for number, case in enumerate(todo[:PER_LAB], 1):
            outcome = _tried(rig, case)
            done[_key(case.victim, case.at)] = outcome.told()
            _write(options, done)
            said = f"{len(done):4} {outcome.seconds:5.1f} s  {outcome.outcome:22} {case.victim:18} {case.at}"
            print(said, *outcome.problems, sep="\n       ! ", flush=True)
            if outcome.problems:
                return len(todo) - number
    return max(0, len(todo) - PER_LAB)


def _cases(options: argparse.Namespace, rig: Rig) -> list[Case]:
    cases = matrix(rig.record(), options.goes)
    chosen = drawn(cases, options.cases, options.seed) if options.cases else drawn(cases, len(cases), options.seed)
    part, parts = map(int, options.part.split("/"))
    return [each for each in chosen[part - 1 :: parts] if options.only in each.victim or options.only in each.at]


def _tried(rig: Rig, case: Case) -> Outcome:
    try:
        return run(rig, case)
    except (GodwitError, AssertionError, OSError) as error:
        return Outcome(case.victim, case.at, "broken off", 0, 0, False, 0, [f"{type(error).__name__}: {error}"])


def _key(victim: object, at: object) -> str:
    return f"{victim} | {at}"


def _write(options: argparse.Namespace, done: dict[str, dict[str, object]]) -> None:
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"seed": options.seed, "cases": list(done.values())}, indent=1))


def table(done: list[dict[str, object]]) -> str:
    """For docs/torture.md: by victim, how many cases ended how."""
    lines = ["| victim | cases | ended |", "|---|---|---|"]
    for victim in VICTIMS:
        ends = Counter(str(each["outcome"]) for each in done if each["victim"] == victim)
        lines.append(f"| {victim} | {ends.total()} | {', '.join(f'{n} {end}' for end, n in ends.most_common())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
