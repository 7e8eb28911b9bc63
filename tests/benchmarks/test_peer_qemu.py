"""The monitor of bare QEMU: it goes on after something did not come in time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.peer_qemu import Qmp

from godwit.core.errors import TimedOut

EVENT = {"event": "MIGRATION", "data": {"status": "cancelled"}, "timestamp": {"seconds": 1, "microseconds": 500}}


def serve(listener: socket.socket) -> None:
    """Greets, and answers each command with its name; `migrate_cancel` is followed by an event, in two parts."""
    listener.listen()
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        connection.sendall(b'{"QMP": {}}\n')
        for line in lines:
            name = json.loads(line)["execute"]
            connection.sendall(json.dumps({"return": name}).encode() + b"\n")
            if name == "quit":
                return
            if name == "migrate_cancel":
                text = json.dumps(EVENT).encode() + b"\n"
                connection.sendall(text[:20])
                connection.sendall(text[20:])


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Qmp]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp"))
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        monitor = Qmp(tmp_path / "qmp")
        yield monitor
        monitor.quit()
        thread.join()


def test_what_did_not_come_in_time_is_given_up_over_the_same_monitor(monitor: Qmp) -> None:
    with pytest.raises(TimedOut):
        monitor.wait(lambda event: True, until_s=time.monotonic() + 0.01)

    assert monitor.execute("migrate_cancel") == "migrate_cancel"
    assert monitor.wait(lambda event: event["event"] == "MIGRATION", until_s=time.monotonic() + 30) == EVENT
