"""A true migration between two QEMUs on the loopback, driven as an agent will drive it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from godwit.core.errors import Failed
from godwit.qemu import memory, secrecy, sockets
from godwit.qemu.cmdline import Launch
from godwit.qemu.keeper import EXITED
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import Monitor, QmpEvent

pytestmark = [pytest.mark.anyio, pytest.mark.lab]

DEADLINE_S = 60.0
SLOWEST_BYTES_PER_S = 1000
"""Such a stream goes on until it is ended, however little there is to send."""
SLOW_BYTES_PER_S = 100_000


def is_status(status: str) -> Callable[[QmpEvent], bool]:
    return lambda event: event.name == "MIGRATION" and event.data["status"] == status


def is_failure(event: QmpEvent) -> bool:
    """A receiver that fails exits, or (where it can be told to) stays and says so."""
    return event.name == EXITED or is_status("failed")(event)


async def names(machine: Machine) -> list[str]:
    return [each.event.name for each in await machine.events_since(0) if each.event.name in ("STOP", "RESUME")]


async def settings(monitor: Monitor) -> dict[str, object]:
    answer: dict[str, object] = await monitor.execute("query-migrate-parameters")
    for each in await monitor.execute("query-migrate-capabilities"):
        answer[each["capability"]] = each["state"]
    return answer


async def share_key(source: Machine, destination: Machine) -> None:
    key = secrecy.make_key()
    await secrecy.use_key(destination.monitor, destination.run_dir / "key", key, endpoint="server")
    await secrecy.use_key(
        source.monitor, source.run_dir / "key", secrecy.read_key(destination.run_dir / "key"), endpoint="client"
    )


@pytest.mark.parametrize(
    ("multifd", "secret", "compression"),
    [(False, False, "none"), (True, False, "none"), (False, True, "none"), (True, True, "none"), (True, True, "zstd")],
)
async def test_a_vm_moves_and_exactly_one_copy_runs(
    machine: Machine, receiver: Machine, multifd: bool, secret: bool, compression: str
) -> None:
    if secret:
        await share_key(machine, receiver)
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=multifd, compression=compression)
    await memory.prepare_sender(machine.monitor, multifd=multifd, compression=compression, bandwidth_bytes_per_s=None)
    with machine.monitor.listening() as source, receiver.monitor.listening() as destination:
        await memory.start_sending(machine.monitor, uri)
        await memory.allow_switch(machine.monitor, 1000)
        await source.wait_for(is_status("completed"), timeout_s=DEADLINE_S)
        await destination.wait_for(is_status("completed"), timeout_s=DEADLINE_S)

        assert await machine.runstate() in {"finish-migrate", "postmigrate"}
        assert await names(machine) == ["STOP"]
        assert await receiver.runstate() == "paused"
        assert await names(receiver) == []  # it has loaded, and does not run before it is told to

        await receiver.cont()
        await destination.wait_for(lambda event: event.name == "RESUME", timeout_s=DEADLINE_S)

    assert await receiver.runstate() == "running"
    assert await names(receiver) == ["RESUME"]
    assert await names(machine) == ["STOP"]
    last = await memory.sample(machine.monitor)
    assert last.status == "completed"
    assert last.remaining_bytes == 0
    assert last.transferred_bytes > 0
    assert last.total_bytes >= 64 * 1024**2
    assert last.pass_number >= 2
    assert last.error is None


async def test_a_source_that_gave_all_can_take_it_back(machine: Machine, receiver: Machine) -> None:
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=False)
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None)
    with machine.monitor.listening() as source:
        await memory.start_sending(machine.monitor, uri)
        await memory.allow_switch(machine.monitor, 1000)
        await source.wait_for(is_status("completed"), timeout_s=DEADLINE_S)
    await receiver.retire()

    await machine.cont()

    assert await machine.runstate() == "running"
    assert await names(machine) == ["STOP", "RESUME"]


async def test_a_stream_broken_off_leaves_the_source_running(machine: Machine, receiver: Machine) -> None:
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=True)
    await memory.prepare_sender(machine.monitor, multifd=True, bandwidth_bytes_per_s=SLOWEST_BYTES_PER_S)
    with machine.monitor.listening() as source:
        await memory.start_sending(machine.monitor, uri)
        await source.wait_for(is_status("active"), timeout_s=DEADLINE_S)
        assert (await memory.sample(machine.monitor)).remaining_bytes > 0
        await memory.break_off(machine.monitor)
        await source.wait_for(is_status("failed"), timeout_s=DEADLINE_S)

    assert await machine.runstate() == "running"
    assert await names(machine) == []
    assert (await memory.sample(machine.monitor)).status == "failed"


async def test_a_receiver_whose_source_dies_never_runs(machine: Machine, receiver: Machine) -> None:
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=False)
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=SLOW_BYTES_PER_S)
    with receiver.monitor.listening() as destination:
        await memory.start_sending(machine.monitor, uri)
        await destination.wait_for(is_status("active"), timeout_s=DEADLINE_S)
        await machine.retire()
        await destination.wait_for(is_failure, timeout_s=DEADLINE_S)

    assert await names(receiver) == []


async def test_the_sender_is_set_as_the_hand_over_needs_it(machine: Machine) -> None:
    await memory.prepare_sender(machine.monitor, multifd=True, bandwidth_bytes_per_s=10**8)

    now = await settings(machine.monitor)

    assert (now["events"], now["return-path"], now["validate-uuid"], now["multifd"]) == (True, False, True, True)
    assert (now["announce-rounds"], now["downtime-limit"], now["max-bandwidth"]) == (0, memory.HOLD_MS, 10**8)
    assert now["multifd-channels"] == memory.MULTIFD_CHANNELS
    assert (now["auto-converge"], now["max-cpu-throttle"]) == (True, 1)


async def test_the_receiver_is_set_as_the_hand_over_needs_it(receiver: Machine) -> None:
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=False)

    now = await settings(receiver.monitor)

    assert uri.startswith("tcp:127.0.0.1:")
    assert int(uri.rsplit(":", 1)[1]) > 0
    assert (now["events"], now["return-path"], now["multifd"], now["announce-rounds"]) == (True, False, False, 0)
    assert now.get("late-block-activate", True)


async def test_holding_and_allowing_change_the_limit_and_nothing_else(machine: Machine) -> None:
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None)
    before = await settings(machine.monitor)

    await memory.allow_switch(machine.monitor, 12.3)
    allowed = await settings(machine.monitor)
    await memory.hold(machine.monitor)

    assert allowed == {**before, "downtime-limit": 13}
    assert await settings(machine.monitor) == before


async def test_another_vm_is_not_let_in(machine: Machine, launch: Launch) -> None:
    spec = launch.spec.model_copy(update={"uuid": "00000000-0f3f-4a55-8f2e-0123456789ab"})
    other = replace(launch, run_dir=launch.run_dir.with_name("other"), incoming=True, spec=spec)
    receiver = await Machine.start(other, env={}, timeout_s=DEADLINE_S)
    try:
        uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=False)
        await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None)
        with receiver.monitor.listening() as destination:
            await memory.start_sending(machine.monitor, uri)
            await destination.wait_for(is_failure, timeout_s=DEADLINE_S)
        assert await names(receiver) == []
    finally:
        await receiver.retire()


@pytest.mark.parametrize("key", ["", "00" * 32])
async def test_a_stream_without_the_right_key_is_not_let_in(machine: Machine, receiver: Machine, key: str) -> None:
    await share_key(machine, receiver)
    if key:
        await secrecy.use_key(machine.monitor, machine.run_dir / "key", key, endpoint="client")
    else:
        await secrecy.use_none(machine.monitor)
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=False)
    # Faster, all that there is might be sent before the receiver refuses it.
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=SLOWEST_BYTES_PER_S)
    with machine.monitor.listening() as source:
        await memory.start_sending(machine.monitor, uri)
        await source.wait_for(is_status("failed"), timeout_s=DEADLINE_S)

    assert await machine.runstate() == "running"
    assert await names(receiver) == []


async def test_an_encrypted_stream_leaves_nothing_unread_at_its_source(machine: Machine, receiver: Machine) -> None:
    """What lay unread when QEMU closes would make the kernel answer with RST and cut the stream's tail."""
    await share_key(machine, receiver)
    uri = await memory.prepare_receiver(receiver.monitor, address="127.0.0.1", multifd=True)
    await memory.prepare_sender(machine.monitor, multifd=True, bandwidth_bytes_per_s=SLOWEST_BYTES_PER_S)
    with machine.monitor.listening() as source:
        await memory.start_sending(machine.monitor, uri)
        await source.wait_for(is_status("active"), timeout_s=DEADLINE_S)
        unread = await asyncio.to_thread(sockets.unread_bytes, machine.qemu_pid, uri)

    assert unread == [0] * (memory.MULTIFD_CHANNELS + 1)


async def test_a_guest_is_slowed_down_only_as_much_as_was_said(machine: Machine) -> None:
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None)
    before = await settings(machine.monitor)

    await memory.throttle(machine.monitor, 60)
    slowed = await settings(machine.monitor)
    await memory.throttle(machine.monitor, 30)
    less = await settings(machine.monitor)
    await memory.throttle(machine.monitor, 0)
    nothing = await settings(machine.monitor)
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None, ready_to_throttle=True)
    ready = await settings(machine.monitor)
    await memory.throttle(machine.monitor, 75, trigger=70)
    bold = await settings(machine.monitor)

    assert (slowed["cpu-throttle-initial"], slowed["max-cpu-throttle"]) == (60, 60)
    assert (less["cpu-throttle-initial"], less["max-cpu-throttle"]) == (30, 30)
    assert nothing == before
    assert (ready["throttle-trigger-threshold"], ready["max-cpu-throttle"]) == (1, 1)
    assert (bold["throttle-trigger-threshold"], bold["max-cpu-throttle"]) == (70, 75)


async def test_it_is_known_how_streams_can_be_compressed(machine: Machine) -> None:
    assert {"none", "zstd"} <= set(memory.compressions(await machine.monitor.execute("query-qmp-schema")))


async def test_nobody_listening_leaves_the_source_running(machine: Machine) -> None:
    await memory.prepare_sender(machine.monitor, multifd=False, bandwidth_bytes_per_s=None)
    with machine.monitor.listening() as source:
        await memory.start_sending(machine.monitor, "tcp:127.0.0.1:1")
        await source.wait_for(is_status("failed"), timeout_s=DEADLINE_S)

    assert await machine.runstate() == "running"
    assert "refused" in ((await memory.sample(machine.monitor)).error or "")


async def test_there_is_nothing_to_break_off_before_a_stream_begins(machine: Machine) -> None:
    with pytest.raises(Failed):
        await memory.break_off(machine.monitor)


async def test_announcing_is_accepted(machine: Machine) -> None:
    await memory.announce(machine.monitor)
    await asyncio.gather(*[memory.announce(machine.monitor, rounds=1) for _ in range(3)])


class ClearingUp:
    """A monitor whose QEMU still holds its last stream the first times it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def execute(self, command: str, *_: object, **__: object) -> object:
        self.asked.append(command)
        if command == "query-yank":
            return [{"type": "migration"}] if self.asked.count("query-yank") < 3 else []
        return []


async def test_a_sender_waits_until_its_last_stream_is_cleared_up() -> None:
    qemu = ClearingUp()
    await memory.prepare_sender(cast(Monitor, qemu), multifd=False, bandwidth_bytes_per_s=None)

    assert qemu.asked[:3] == ["query-yank"] * 3
    assert qemu.asked[-1] == "migrate-set-parameters"
