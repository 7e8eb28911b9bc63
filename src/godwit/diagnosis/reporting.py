"""Connections and flows as reports have them."""

from __future__ import annotations

from collections.abc import Sequence

from godwit.core.report import ConnectionReport, FlowReport
from godwit.diagnosis.flows import Connection, Datagrams


def reported(connection: Connection) -> ConnectionReport:
    """The connection as reports have it; it survived unless somebody reset it or it was left waiting."""
    return ConnectionReport(
        client=connection.client,
        server=connection.server,
        longest_silence_ms=round(connection.from_vm.silence.length_ms, 3),
        peer_silence_ms=round(connection.to_vm.silence.length_ms, 3),
        retransmissions=connection.retransmissions,
        zero_windows=connection.from_vm.zero_windows + connection.to_vm.zero_windows,
        resets=len(connection.resets),
        reset_by=None if not connection.resets else "vm" if connection.resets[0].is_from_vm else "peer",
        survived=not connection.resets and not connection.is_left_waiting,
    )


def reported_flow(flow: Datagrams) -> FlowReport:
    """The flow as reports have it."""
    return FlowReport(
        vm=flow.vm,
        peer=flow.peer,
        frames_from_vm=flow.frames_from_vm,
        frames_to_vm=flow.frames_to_vm,
        longest_silence_ms=round(flow.silence.length_ms, 3),
    )


def verdict(connections: Sequence[ConnectionReport] | None, *, saw_all: bool = True) -> str:
    """One line: `37 connections carried, 0 reset, longest silence 41 ms`."""
    if connections is None:
        return "not observed"
    lost = sum(not each.survived and not each.resets for each in connections)
    reset = sum(bool(each.resets) for each in connections)
    parts = [f"{len(connections) - lost - reset} connections carried", f"{reset} reset"]
    parts += [f"{lost} left without an answer"] * bool(lost)
    longest_ms = max((each.longest_silence_ms for each in connections), default=0.0)
    parts += [f"longest silence {longest_ms:.0f} ms"] * bool(connections)
    parts += ["some frames were not recorded"] * (not saw_all)
    return ", ".join(parts)
