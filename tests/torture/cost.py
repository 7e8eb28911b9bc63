"""What the journals cost: the blackout of migrations with them and without, in turn, in one run.

python -m tests.torture.cost [--each 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from tests.torture.rig import torture_rig

from godwit.core.phase import Phase


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=20)
    each = parser.parse_args(argv).each
    blackouts: dict[str, list[float]] = {"with": [], "without": []}
    with torture_rig() as rig:
        flag = rig.directory / "no-journal"
        for number in range(2 * each):
            how = ("with", "with", "without", "without")[number % 4]  # each in both directions
            flag.unlink(missing_ok=True)
            if how == "without":
                flag.touch()
            migration = rig.wait_ended(rig.migrate().id)
            assert migration.phase is Phase.done, migration
            blackout_ms = rig.lab.client.report(migration.id).blackout_ms
            assert blackout_ms is not None
            blackouts[how].append(blackout_ms)
    medians = {how: round(statistics.median(values), 2) for how, values in blackouts.items()}
    print(json.dumps({"each": each, "median_blackout_ms": medians, "blackouts_ms": blackouts}))
    print(f"the journals cost {medians['with'] - medians['without']:+.2f} ms in the median")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
