"""What `make bench` shall measure, what it has measured already, and how much time each part of the rest may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Runs
from benchmarks.tally import Run


@dataclass(frozen=True)
class Case:
    """What the guest does, and over which link it moves."""

    name: str
    rate: str
    load: tuple[str, str] | None = None
    """Of `load.py`: what, and how many MB/s."""

    @property
    def is_bulk(self) -> bool:
        """Its stall is the longest silence of the transfer."""
        return self.load is not None and self.load[0] != "dirty"

    @property
    def peers(self) -> tuple[str, ...]:
        """Who moves in it: compressing is for links that are slower than memory."""
        return (*PEERS, COMPRESSING) if self.rate == "1gbit" else PEERS


LOADS = {"idle": None, "dirty": ("dirty", "20"), "download": ("download", "20"), "upload": ("upload", "20")}
CASES = tuple(Case(f"{load}-{rate}", rate, words) for rate in ("unlimited", "1gbit") for load, words in LOADS.items())
HOPELESS = Case("dirties-faster-than-the-link", "200mbit", ("dirty", "40"))
QUICK = ("idle-unlimited", "dirty-unlimited", "dirty-1gbit", "download-1gbit")
PEERS = ("virsh", "qemu", "godwit", "virsh-10ms", "qemu-same", "godwit-tls")
"""In this order they move in the first round; in each further one, one more of them has become the last."""
COMPRESSING = "godwit-zstd"
ALL_PEERS = (*PEERS, COMPRESSING)
ABOUT_S = {"unlimited": 5.0, "1gbit": 7.0, "200mbit": 60.0}
"""What one move takes with all around it, by the link's rate; only shares out the time."""


def home_of(*, quick: bool, qemu: str | None) -> str:
    """The directory below `build/` in which such a run keeps its figures; `qemu` is the major version asked for."""
    return f"bench{'-quick' if quick else ''}{f'-qemu{qemu}' if qemu else ''}"


def copy_of(*, qemu: str | None) -> str:
    """The file in `build/` that has the figures of the last run with that QEMU, full or quick."""
    return f"bench{f'-qemu{qemu}' if qemu else ''}.json"


@dataclass
class Plan:
    """What a run of `make bench` does: those moves that its journal does not have yet."""

    cases: Sequence[Case]
    rounds: int
    journal: Runs
    peers: Sequence[str] = ALL_PEERS

    @property
    def done(self) -> list[Run]:
        """Every move that was measured, now or earlier."""
        return [Run.model_validate(each) for each in self.journal.all]

    def note(self, run: Run) -> None:
        """It is on the disk."""
        self.journal.add(run.model_dump(mode="json"))

    def rates(self) -> list[str]:
        """Those of the links over which something is left to be moved."""
        return list(dict.fromkeys(case.rate for case in self.cases if self._count(case)))

    def share(self, rate: str) -> float:
        """Which part of the time that is left moves over that link may take."""
        needs = self._needs()
        return sum(need for case, need in needs.items() if case.rate == rate) / sum(needs.values())

    @property
    def sentence(self) -> str:
        """How much there is still to do."""
        moves = sum(self._count(case) for case in self.cases)
        return f"{moves} moves are left, about {sum(self._needs().values()) / 60:.0f} minutes"

    def _needs(self) -> dict[Case, float]:
        return {case: self._count(case) * ABOUT_S[case.rate] for case in self.cases}

    def left(self, rate: str) -> list[tuple[Case, str, int]]:
        """Case, peer and round of what is left over that link, round by round: what ends early has some of each."""
        known = {(each.case, each.peer, each.round) for each in self.done}
        found = []
        for round in range(self.rounds):
            for case in self.cases:
                if case.rate == rate and round < self._rounds(case):
                    turn = round % len(case.peers)
                    order = [each for each in (*case.peers[turn:], *case.peers[:turn]) if each in self.peers]
                    found += [(case, each, round) for each in order if (case.name, each, round) not in known]
        return found

    def _count(self, case: Case) -> int:
        return sum(each == case for each, _, _ in self.left(case.rate))

    def _rounds(self, case: Case) -> int:
        """Where nobody comes to an end, once is enough."""
        return 1 if case is HOPELESS else self.rounds
