"""SPIN finds no error in models/hand_over.pml, and finds those that are put in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "models" / "hand_over.pml"
ABSENT = [program for program in ("spin", "gcc") if not shutil.which(program)]
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"{' and '.join(ABSENT)} not installed: apt-get install spin gcc")

SOUND = [
    ("one", ""),
    ("one", "-DRP=1"),
    ("one", "-DEV=0 -DLAX"),
    ("one", "-DGO_AT_STOP"),
    ("kept", "-DQCRASH=0"),
    ("rest", "-DNLOSS=0"),
    ("rest", "-DRP=1 -DNLOSS=0"),
]
UNSOUND = [
    ("one", "-DAUTOSTART -DRP=1"),
    ("one", "-DTAKE_BACK"),
    ("one", "-DNO_JOURNAL"),
    ("one", "-DIMPATIENT"),
    ("one", "-DGO_AT_STOP -DRP=1"),
    ("one", "-DUNASKED"),
    ("one", "-DEV=0"),
    ("rest", "-DWAITS_FOR_EVER -DACRASH=0 -DNLOSS=0"),
]


def errors(directory: Path, claim: str, flags: str) -> int:
    """How many SPIN finds, all states visited."""

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    lives = claim == "rest"
    run("spin", *flags.split(), "-a", str(MODEL))
    run("gcc", "-O1", "-w", "-DCOLLAPSE", *(["-DNFAIR=3"] if lives else ["-DSAFETY"]), "-o", "pan", "pan.c")
    told = run("./pan", "-m1000000", *(["-a", "-f"] if lives else []), "-N", claim)
    assert "max search depth too small" not in told
    found = re.search(r"errors: (\d+)", told)
    states = re.search(r"(\d\S*) states, stored", told)
    assert found, told
    assert states, told
    print(f"{claim} {flags or '(defaults)'}: {states[1]} states, {found[1]} errors")
    return int(found[1])


@pytest.mark.parametrize(("claim", "flags"), SOUND)
def test_the_hand_over_is_sound(claim: str, flags: str, tmp_path: Path) -> None:
    assert errors(tmp_path, claim, flags) == 0


@pytest.mark.parametrize(("claim", "flags"), UNSOUND)
def test_a_mistake_is_found(claim: str, flags: str, tmp_path: Path) -> None:
    assert errors(tmp_path, claim, flags) == 1
