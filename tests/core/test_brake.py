"""QEMU's slowing down of the guest, as its source has it."""

from __future__ import annotations

from godwit.core.brake import Brake, slowed


def test_it_takes_two_looks_of_a_second_or_more() -> None:
    brake, seen = Brake(is_ready=False), []
    brake.allow(60, 1)
    for at_s in (0.5, 1.5, 2.0, 3.0):
        brake.pass_ended(at_s, sent=100, dirtied=90)
        seen.append(brake.percent)

    assert seen == [0, 0, 0, 60]


def test_one_that_is_ready_has_looked_once_when_the_first_pass_ends() -> None:
    ready, other = Brake(is_ready=True), Brake(is_ready=False)
    for brake in (ready, other):
        brake.pass_ended(5, sent=100, dirtied=30)
        brake.allow(60, 1)
        brake.pass_ended(8, sent=30, dirtied=30)

    assert (ready.percent, other.percent) == (60, 0)


def test_a_look_that_finds_little_dirtied_does_not_count() -> None:
    brake = Brake(is_ready=True)
    brake.pass_ended(5, sent=100, dirtied=30)
    brake.allow(60, 50)
    brake.pass_ended(8, sent=100, dirtied=50)
    assert brake.percent == 0

    brake.pass_ended(11, sent=100, dirtied=51)
    assert brake.percent == 60


def test_a_step_back_takes_two_looks_too_and_nothing_is_one_percent() -> None:
    brake = Brake(is_ready=True)
    for at_s, allowed in ((2, 80), (4, 0), (6, 0), (8, 0)):
        brake.pass_ended(at_s, sent=100, dirtied=90)
        brake.allow(allowed, 1)

    assert brake.percent == 1


def test_standing_still_costs_first_what_the_guest_does_not_use() -> None:
    assert slowed(0, 0.2) == 1.0
    assert slowed(80, 0.2) == 1.0
    assert slowed(90, 0.2) == 0.5
    assert slowed(80, 0.0) == 1.0
