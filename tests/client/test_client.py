"""The client against a manager that answers on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.client.live import Live
from tests.manager.site import MOVE, WEB

from godwit.client.client import Client
from godwit.client.migrations import RESUME_TRIES
from godwit.core.errors import Failed, Invalid, NotFound, Refused, Unreachable
from godwit.core.migration import Event, EventKind
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.core.resources import VmRequest

HTTPX_DROPS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""One that could not connect it leaves to the garbage collector, which closes it at once."""


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(live.socket) as client:
        yield client


def test_a_vm_through_its_life(client: Client) -> None:
    vm = client.create_vm(WEB)
    assert (vm.state, vm.host) == (VmState.running, "host-a")
    assert client.vms() == [vm] == [client.vm("web-1")]
    assert client.stop_vm("web-1", grace_s=0).state is VmState.stopped
    assert client.start_vm("web-1").state is VmState.running
    client.stop_vm("web-1")
    client.delete_vm("web-1")
    assert client.vms() == []


def test_what_there_is(client: Client) -> None:
    assert [host.name for host in client.hosts()] == ["host-a", "host-b"]
    assert client.host("host-b").reachable
    assert [each.name for each in client.networks()] == ["dark", "lan"]
    assert client.datastores() == [client.datastore("default")]
    assert [each.name for each in client.images()] == ["base"]
    assert client.disks() == []


def test_a_migration_through_its_life(client: Client) -> None:
    client.create_vm(WEB)
    migration = client.migrate(MOVE)
    events = list(client.events(migration.id))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert client.migration(migration.id).phase is Phase.done
    assert [each.id for each in client.migrations()] == [migration.id]
    assert client.report(migration.id).outcome == "done"
    assert list(client.events(migration.id, after=3)) == events[3:]
    assert list(client.events(migration.id, after=len(events))) == []


def test_a_migration_is_cancelled(client: Client, live: Live) -> None:
    client.create_vm(WEB)
    live.hold("host-b", "prepare_incoming")
    id = client.migrate(MOVE).id
    live.wait_for("host-b", "prepare_incoming")
    client.cancel(id)
    assert list(client.events(id))[-1].phase is Phase.cancelled


def test_a_broken_stream_is_taken_up_where_it_broke(client: Client, live: Live) -> None:
    client.create_vm(WEB)
    live.hold("host-a", "hand_over")
    id = client.migrate(MOVE).id
    live.wait_for("host-a", "hand_over")
    seen: list[Event] = []
    for event in client.events(id):
        seen.append(event)
        if event.phase is Phase.handing_over:
            live.break_connections()
            live.let("host-a", "hand_over")
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].phase is Phase.done


def test_pings_are_no_events(tmp_path: Path) -> None:
    event = Event(sequence=1, at=datetime.now(UTC), kind=EventKind.ended, text="done")
    stream = f": ping\n\nid: 1\ndata: {event.model_dump_json()}\n\n: ping\n\n"
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    with answering(tmp_path / "s", (head + stream).encode()), Client(tmp_path / "s") as client:
        assert list(client.events("m1")) == [event]


def test_what_the_manager_raises_is_raised(client: Client) -> None:
    with pytest.raises(NotFound, match="there is no VM 'nil'") as caught:
        client.vm("nil")
    assert caught.value.code == "no-vm"
    with pytest.raises(NotFound, match="there is no migration 'nil'"):
        list(client.events("nil"))
    with pytest.raises(NotFound, match="there is no VM 'b\\?c'"):
        client.vm("b?c")
    client.create_vm(WEB)
    with pytest.raises(Refused, match="web-1 runs on host-a already"):
        client.migrate(MOVE.model_copy(update={"destination": "host-a"}))
    with pytest.raises(Invalid, match="memory_mib"):
        client.create_vm(VmRequest.model_construct(name="a", memory_mib=-1))


@HTTPX_DROPS_SOCKETS
def test_without_a_manager_it_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    pauses: list[float] = []
    with Client(path, pause=pauses.append) as client:
        for ask in (client.vms, lambda: list(client.events("m1")), lambda: client.console("web-1").__enter__()):
            with pytest.raises(Unreachable, match=f"no manager answers at {path}"):
                ask()
    assert len(pauses) == RESUME_TRIES


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "cannot be understood"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", "is it godwit's"),
        (b"", "broke off before it answered"),
    ],
)
def test_who_is_no_manager_is_told_so(tmp_path: Path, answer: bytes, sentence: str) -> None:
    with answering(tmp_path / "s", answer), Client(tmp_path / "s") as client, pytest.raises(Failed, match=sentence):
        client.vms()


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Somebody who gives that answer to one question, whatever it is."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def speak() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(4096)
                line.sendall(answer)

        speaker = threading.Thread(target=speak)
        speaker.start()
        yield
        speaker.join()


def test_a_console_carries_bytes_both_ways(client: Client) -> None:
    client.create_vm(WEB)
    with client.console("web-1") as console:
        console.write(b"\x00hello\xff")
        assert next(console.output()) == b"\x00hello\xff"


def test_a_console_that_breaks_says_why(client: Client, live: Live) -> None:
    client.create_vm(WEB)
    live.site.doors["host-a"].is_cut = True
    with client.console("web-1") as console, pytest.raises(Failed, match="the line is cut"):
        list(console.output())


def test_a_vm_that_is_off_has_no_console(client: Client) -> None:
    with pytest.raises(NotFound, match="there is no VM 'web-1'"), client.console("web-1"):
        pass
    client.create_vm(WEB)
    client.stop_vm("web-1")
    with pytest.raises(Refused, match="web-1 is stopped and has no console: start it"), client.console("web-1"):
        pass


def test_the_socket_is_its_owners_alone(live: Live) -> None:
    assert live.socket.stat().st_mode & 0o777 == 0o600
