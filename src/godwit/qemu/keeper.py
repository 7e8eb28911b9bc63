"""The keeper: one small process per VM that holds QEMU and its monitor, so that an agent's restart loses nothing.

    python -m godwit.qemu.keeper DIRECTORY [READY_FD]

DIRECTORY is the VM's run directory (0700):
    launch.json   what to start: {"argv", "env", "tap_fds"}
    qemu.json     the QEMU that was started: {"pid", "start_ticks"}; if it is there, QEMU is adopted, never started
    keeper.json   this process, likewise
    qmp.sock      QEMU's monitor, ours alone;  events.sock  its second monitor, which we leave to others
    keeper.sock   QMP for any number of clients
    events.jsonl  each event with its number;  qemu.log  what QEMU printed;  keeper.log  what we printed
A line is written to READY_FD when QEMU has greeted us and keeper.sock answers; if it closes without one, we failed.

Clients see QEMU's QMP, and in addition:
    __org.godwit_log {"since": n}   {"events": [{"seq", "event", "data", "timestamp"}], "qemu": {"pid", "start_ticks",
                                    "is_alive", "exit_status"}}; a status is unknown (null) after an adoption
    __org.godwit_retire             QEMU is ended, the directory removed, and we end
    event __org.godwit_EXITED       QEMU is gone: {"status"}; comes after everything that QEMU ever said
    event __org.godwit_GAP          logged at an adoption: what QEMU said since the last keeper died is unknown
QEMU survives us (SIGKILL, SIGTERM). It is not ours to restart: when it dies we stay and answer for it.
Only the standard library is used, and no asyncio: this starts within milliseconds and answers within microseconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from itertools import count
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from godwit.core.errors import GodwitError
from godwit.host import priority, process
from godwit.qemu.child import Child
from godwit.qemu.event_log import EventLog
from godwit.qemu.qmp_stream import Objects, encode
from godwit.qemu.stream import Stream

EXITED = "__org.godwit_EXITED"
GAP = "__org.godwit_GAP"
LOG = "__org.godwit_log"
RETIRE = "__org.godwit_retire"

_GRACE_S = 5.0
_CLIENT_LIMIT_BYTES = 64 * 1024 * 1024
"""A client that leaves this much unread is cut off."""


class Client:
    """One connection to keeper.sock."""

    def __init__(self, keeper: Keeper, sock: socket.socket) -> None:
        self._keeper = keeper
        self._objects = Objects()
        self.is_listening = False
        self.stream = Stream(sock, keeper.selector, on_bytes=self._receive, on_end=self._end)

    def answer(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """The reply is sent with the id that the client gave its request."""
        self.send(encode({**reply, **({"id": request["id"]} if "id" in request else {})}))

    def send(self, data: bytes) -> None:
        """The bytes are on their way, unless this client has stopped reading: then it is cut off."""
        self.stream.send(data)
        if self.stream.waiting_bytes > _CLIENT_LIMIT_BYTES:
            self.stream.close()
            self._end()

    def _receive(self, data: bytes) -> None:
        for request in self._objects.feed(data):
            self._keeper.obey(self, request)

    def _end(self) -> None:
        self._keeper.clients.discard(self)


class Keeper:
    """Routes commands to QEMU and their replies back, and tells every client each event."""

    def __init__(self, directory: Path, qemu: Child) -> None:
        self._directory = directory
        self._qemu = qemu
        self.selector = DefaultSelector()
        self.clients: set[Client] = set()
        self._log = EventLog(directory / "events.jsonl")
        self._objects = Objects()
        self._ids = count(1)
        self._pending: dict[int, tuple[Client, dict[str, Any]]] = {}
        self._greeting = b""
        self._is_ready = False
        self._retiring: tuple[Client, dict[str, Any]] | None = None
        self._kill_at: float | None = None
        self._is_finished = False
        self.selector.register(qemu.pidfd, EVENT_READ, lambda _mask: self._reap())
        self._monitor = Stream(
            qemu.connect(directory / "qmp.sock"), self.selector, on_bytes=self._receive, on_end=lambda: None
        )

    def greet(self) -> None:
        """QEMU has greeted us and out-of-band commands are on. Ends this process if QEMU dies instead."""
        while not self._is_ready:
            self._turn()
            if not self._qemu.is_alive:
                raise SystemExit("QEMU ended before it answered; its last words are in qemu.log")

    def serve(self) -> None:
        """Answers clients until one of them retires us."""
        while not self._is_finished:
            self._turn()

    def listen(self) -> None:
        """Clients can connect."""
        path = self._directory / "keeper.sock"
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        server.listen(16)
        server.setblocking(False)
        self.selector.register(server, EVENT_READ, lambda _mask: self._accept(server))

    def note_gap(self) -> None:
        """The log says that events may be missing here."""
        self._log.append(_event(GAP, {}))

    def obey(self, client: Client, request: dict[str, Any]) -> None:
        """The command is answered, or forwarded under an id of our own."""
        name = request.get("execute") or request.get("exec-oob")
        if name == "qmp_capabilities":
            client.is_listening = True
            client.answer(request, {"return": {}})
        elif name == LOG:
            client.answer(request, {"return": self._told(request.get("arguments", {}))})
        elif name == RETIRE:
            self._retire(client, request)
        elif not isinstance(name, str):
            client.answer(request, _error("this is not a QMP command"))
        elif not self._qemu.is_alive:
            client.answer(request, _error("QEMU has exited"))
        else:
            number = next(self._ids)
            self._pending[number] = (client, request)
            self._monitor.send(encode({**request, "id": number}))

    def _turn(self) -> None:
        wait = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
        for key, mask in self.selector.select(wait):
            key.data(mask)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._qemu.signal(signal.SIGKILL)

    def _accept(self, server: socket.socket) -> None:
        client = Client(self, server.accept()[0])
        self.clients.add(client)
        client.send(self._greeting)

    def _receive(self, data: bytes) -> None:
        for message in self._objects.feed(data):
            if "event" in message:
                self._tell(message)
            elif "QMP" in message:
                self._greeting = encode(message)
                oob = {"enable": ["oob"]} if "oob" in message["QMP"]["capabilities"] else {}
                self._monitor.send(encode({"execute": "qmp_capabilities", "arguments": oob, "id": 0}))
            elif message.get("id") == 0:
                self._is_ready = True
            elif (number := message.pop("id", None)) in self._pending:
                client, request = self._pending.pop(number)
                client.answer(request, message)

    def _tell(self, event: dict[str, Any]) -> None:
        line = encode(event)
        for client in [each for each in self.clients if each.is_listening]:
            client.send(line)
        self._log.append(event)

    def _told(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"events": self._log.since(arguments.get("since", 0)), "qemu": self._qemu.describe()}

    def _reap(self) -> None:
        """Only after all that QEMU ever said has been told: then `no RESUME came` is evidence."""
        self._monitor.drain()
        self.selector.unregister(self._qemu.pidfd)
        self._qemu.reap()
        for client, request in self._pending.values():
            client.answer(request, _error("QEMU has exited"))
        self._pending.clear()
        self._tell(_event(EXITED, {"status": self._qemu.exit_status}))
        self._kill_at = None
        if self._retiring is not None:
            self._finish(*self._retiring)

    def _retire(self, client: Client, request: dict[str, Any]) -> None:
        self._retiring = (client, request)
        if not self._qemu.is_alive:
            self._finish(client, request)
        elif self._kill_at is None:
            self._kill_at = time.monotonic() + _GRACE_S
            self._qemu.signal(signal.SIGTERM)

    def _finish(self, client: Client, request: dict[str, Any]) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        client.answer(request, {"return": {}})
        for each in list(self.clients):
            each.stream.finish()
        self._is_finished = True


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    microseconds = time.time_ns() // 1000
    timestamp = {"seconds": microseconds // 1_000_000, "microseconds": microseconds % 1_000_000}
    return {"timestamp": timestamp, "event": name, "data": data}


def _error(text: str) -> dict[str, Any]:
    return {"error": {"class": "GenericError", "desc": text}}


def _write_self(directory: Path) -> None:
    pid = os.getpid()
    facts = {"pid": pid, "start_ticks": process.start_ticks(pid)}
    (directory / "keeper.json").write_text(json.dumps(facts))


def main(directory: Path, ready_fd: int | None) -> None:
    """Keeps the VM of that directory until it is retired."""
    os.umask(0o077)
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
    _write_self(directory)
    is_adopted = (directory / "qemu.json").exists()
    qemu = Child.adopt(directory) if is_adopted else Child.start(directory)
    priority.go_first()  # what QEMU says at the switch-over goes through us
    keeper = Keeper(directory, qemu)
    if is_adopted:
        keeper.note_gap()
    keeper.greet()
    keeper.listen()
    if ready_fd is not None:
        os.write(ready_fd, b"\n")
        os.close(ready_fd)
    keeper.serve()
    os._exit(0)  # all is told and closed, and whoever retired us waits for our end


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    except GodwitError as error:
        sys.exit(error.message)
