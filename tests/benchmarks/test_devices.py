"""What QEMU's trace says of devices."""

from __future__ import annotations

import pytest

from benchmarks import devices

SOURCE = """qemu-system-x86_64: warning: something else
71@1795889682.100000:savevm_section_start ram, section_id 2
71@1795889682.101000:savevm_section_end ram, section_id 2 -> 0
71@1795889682.101500:savevm_section_start timer, section_id 0
71@1795889682.101750:savevm_section_end timer, section_id 0 -> 0
71@1795889682.102000:savevm_section_start 0000:00:02.0/virtio-net, section_id 9
71@1795889682.102500:savevm_section_end 0000:00:02.0/virtio-net, section_id 9 -> 0
"""
DESTINATION = """
72@1795889682.000000:qemu_loadvm_state_section_startfull 2(ram) 0 4
72@1795889682.104000:qemu_loadvm_state_section_startfull 0(timer) 0 2
72@1795889682.104250:qemu_loadvm_state_section_startfull 9(0000:00:02.0/virtio-net) 0 11
72@1795889682.105250:qemu_loadvm_state_post_main 0
72@1795889682.1052"""


def test_each_device_is_timed_where_it_is_saved_and_memory_is_none() -> None:
    cost = devices.saving(devices.read(SOURCE))

    assert cost == {"timer": pytest.approx(0.25, abs=0.01), "0000:00:02.0/virtio-net": pytest.approx(0.5, abs=0.01)}


def test_each_device_is_timed_where_it_is_loaded_until_the_next_ones_turn() -> None:
    cost = devices.loading(devices.read(DESTINATION))

    assert cost == {"timer": pytest.approx(0.25, abs=0.01), "0000:00:02.0/virtio-net": pytest.approx(1.0, abs=0.01)}
