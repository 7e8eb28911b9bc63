"""A godwit daemon with fault points in its adapters: journal, wire, QMP, and the manager's diary.

    daemon.py agent|manager --config FILE

The lab starts this instead of `godwit` when GODWIT_LAB_DAEMON says so; GODWIT_TORTURE names the directory of points.py.
"""

from __future__ import annotations

import functools
import os
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.torture.points import Points

from godwit.agent import vms
from godwit.agent.agent import Agent
from godwit.contract.disks import MirrorDisks
from godwit.contract.host import Host, Peer
from godwit.core.migration import Event
from godwit.core.ownership import Record
from godwit.core.phase import Phase
from godwit.host.journal_file import JournalFile
from godwit.main import agent as agent_root
from godwit.main.godwit import main
from godwit.manager.book import Book
from godwit.qemu.monitor import Monitor
from godwit.rpc.wire import verbs

IDLE = {"facts", "watch", "vm_status", "console", "use_datastores", "create_disk", "start_vm", "stop_vm"}
"""Verbs that are no part of a migration."""
STREAMS = {"copy", "mirror_disks"}
ORDERS = [name for protocol in (Host, Peer) for name in verbs(protocol) if name not in IDLE | STREAMS]
Ask = Callable[[Any], Awaitable[Any]]


def struck_journal(points: Points) -> type[JournalFile]:
    class StruckJournal(JournalFile):
        def append(self, record: Record, /, *, durable: bool) -> None:
            if points.is_set("no-journal"):
                self._records.append(record)  # nothing is written: what it costs is measured against this
                return
            name = f"journal {record.state}"
            points.reach(f"{name} before")
            super().append(record, durable=False)
            points.reach(f"{name} written")
            if durable:
                assert self._file is not None
                os.fdatasync(self._file)
                points.reach(f"{name} synced")

    return StruckJournal


def around(points: Points, name: str, act: Ask) -> Ask:
    @functools.wraps(act)
    async def struck(request: Any, /) -> Any:
        points.reach(f"{name} before")
        answer = await act(request)
        points.reach(f"{name} after")
        return answer

    return struck


def serve(points: Points, verb: str) -> None:
    plain = getattr(Agent, verb)

    @functools.wraps(plain)
    async def struck(self: Agent, request: Any, /) -> Any:
        return await around(points, f"serve {verb}", functools.partial(plain, self))(request)

    setattr(Agent, verb, struck)


def serve_mirror(points: Points) -> None:
    plain = Agent.mirror_disks

    @functools.wraps(plain)
    async def struck(self: Agent, request: MirrorDisks, /) -> AsyncIterator[Event]:
        points.reach("serve mirror_disks before")
        async for event in plain(self, request):
            points.reach(f"serve mirror_disks {event.kind}")
            yield event
        points.reach("serve mirror_disks after")

    setattr(Agent, "mirror_disks", struck)  # noqa: B010 - or its type would have to be the same


def ask(points: Points) -> None:
    class StruckPeers(agent_root.Peers):
        def __call__(self, host: str, address: str) -> Peer:
            peer: Any = super().__call__(host, address)
            for verb in verbs(Peer):
                plain = getattr(peer, verb)
                if not getattr(plain, "is_struck", False):
                    struck = around(points, f"ask {verb}", plain)
                    struck.is_struck = True  # type: ignore[attr-defined]
                    setattr(peer, verb, struck)
            return peer  # type: ignore[no-any-return]

    vars(agent_root)["Peers"] = StruckPeers


def qmp(points: Points) -> None:
    plain = Monitor._execute

    async def struck(self: Monitor, command: str, *words: Any, **more: Any) -> Any:
        name = f"qmp {command.removeprefix('__org.godwit_')}"
        points.reach(f"{name} before")
        answer = await plain(self, command, *words, **more)
        points.reach(f"{name} after")
        return answer

    Monitor._execute = struck  # type: ignore[method-assign]


def diary(points: Points) -> None:
    plain = Book.enter

    async def struck(self: Book, phase: Phase, /, **more: Any) -> None:
        points.reach(f"phase {phase} before")
        await plain(self, phase, **more)
        points.reach(f"phase {phase} after")

    Book.enter = struck  # type: ignore[method-assign]


def install(points: Points) -> None:
    """Every adapter of this process has its points."""
    vars(vms)["JournalFile"] = struck_journal(points)
    for verb in ORDERS:
        serve(points, verb)
    serve_mirror(points)
    ask(points)
    qmp(points)
    diary(points)


if __name__ == "__main__":
    config = tomllib.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    install(Points(config.get("host", "manager"), Path(os.environ["GODWIT_TORTURE"])))
    sys.exit(main(sys.argv[1:]))
