"""What the kernel says of this host."""

from __future__ import annotations

import os

from godwit.host import facts


def test_boot_id_stays_and_has_the_form_of_a_uuid() -> None:
    assert facts.boot_id() == facts.boot_id()
    assert [len(part) for part in facts.boot_id().split("-")] == [8, 4, 4, 4, 12]


def test_memory_is_in_mib() -> None:
    before, told, after = physical_mib(), facts.memory_mib(), physical_mib()

    assert min(before, after) <= told <= max(before, after), "a virtual machine's may change any time"


def physical_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2


def test_cpus_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert facts.cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_swap_is_that_of_the_process_and_none_for_one_that_is_gone() -> None:
    assert facts.swapped_mib(os.getpid()) >= 0
    assert facts.swapped_mib(0) == 0


def test_load_is_for_each_cpu() -> None:
    assert facts.load() >= 0
