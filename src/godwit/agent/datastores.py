"""The datastores that this host sees: those of its configuration, and those that the manager told of."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TypeVar

from godwit.core.config import AgentConfig
from godwit.core.errors import Failed, NotFound, Refused
from godwit.core.model import Datastore, DatastoreFacts, Disk
from godwit.storage import directory, iscsi
from godwit.storage.directory import free_bytes

LOOK_AGAIN_S = 10.0
"""An iSCSI target is asked again after this; each look opens connections."""

LOOK_S = 3.0
"""What has not told all by then is not there; whoever asks for facts waits no longer than five seconds."""

T = TypeVar("T")


class Datastores:
    """Where both name one, the host's own configuration holds."""

    def __init__(self, config: AgentConfig) -> None:
        self._host = config.host
        self._own = {
            name: Datastore(name=name, path=str(each.path), shared=each.shared)
            for name, each in config.datastores.items()
        }
        self._known = self._own
        self._seen: dict[str, tuple[float, DatastoreFacts | None]] = {}
        self._looks: dict[str, asyncio.Task[DatastoreFacts | None]] = {}
        """At iSCSI targets that have not told yet."""
        self._asked: dict[Datastore, tuple[float, asyncio.Future[DatastoreFacts | None]]] = {}
        """Directories whose file systems have not answered yet, and since when."""

    def use(self, told: Iterable[Datastore]) -> None:
        """The manager's datastores are these."""
        self._known = {each.name: each for each in told} | self._own

    def path(self, name: str) -> Path:
        """Where that directory is; `NotFound` if this host does not see it, `Refused` if it is an iSCSI target."""
        datastore = self._known.get(name)
        if datastore and datastore.kind == "iscsi":
            raise Refused(
                f"datastore {name!r} is an iSCSI target, and no unit of it was named: see `godwit datastore show "
                f"{name}` for whether hosts see it",
                "iscsi",
            )
        if datastore is None or not Path(datastore.path).is_dir():
            raise NotFound(
                f"{self._host} does not see datastore {name!r}: mount it there, or see `godwit datastore list`",
                "no-datastore",
            )
        return Path(datastore.path)

    def told_apart(self, name: str) -> None:
        """Something lies there now: hosts that see it, and only they, can tell that it is the same."""
        directory.make_token(self.path(name))

    async def facts(self) -> tuple[DatastoreFacts, ...]:
        """Of those that are there now, by name."""
        looks = {"directory": self._look_into, "iscsi": self._look}
        asked = await asyncio.gather(*(looks[each.kind](each) for each in self._known.values()))
        return tuple(sorted((each for each in asked if each), key=lambda each: each.name))

    async def unit(self, disk: Disk) -> None:
        """It is there, and large enough; `NotFound` or `Refused` says what is not."""
        datastore = self._known.get(disk.datastore)
        url = datastore.path if datastore else ""
        for each in await iscsi.luns(url) if url else ():
            if f"{url}/{each.number}" == disk.path and each.size_bytes >= disk.size_bytes:
                return
        raise NotFound(f"{self._host} does not see {disk.path}, or it is too small: look at that target", "no-unit")

    async def _look_into(self, datastore: Datastore) -> DatastoreFacts | None:
        """What a directory is now; none: it is not there, or its file system (a server of NFS) does not answer."""
        loop = asyncio.get_running_loop()
        if datastore not in self._asked:
            self._asked[datastore] = loop.time(), _beside(lambda: _facts(datastore))
            self._asked[datastore][1].add_done_callback(lambda _: self._asked.pop(datastore))
        since_s, told = self._asked[datastore]
        await asyncio.wait({told}, timeout=max(0.0, since_s + LOOK_S - loop.time()))
        return told.result() if told.done() else None

    async def _look(self, datastore: Datastore) -> DatastoreFacts | None:
        """What it told when it was asked last, which is a little while ago at most; none: it does not answer.

        Whoever asks while it is looked at for the first time waits for that look.
        """
        loop, place = asyncio.get_running_loop(), datastore.path
        at_s, seen = self._seen.get(place, (-inf, None))
        if place not in self._looks:
            if loop.time() - at_s < LOOK_AGAIN_S:
                return seen
            self._looks[place] = asyncio.create_task(self._look_anew(datastore), name=f"look at {place}")
            self._looks[place].add_done_callback(lambda _: self._looks.pop(place))
        elif seen:
            return seen
        return await asyncio.shield(self._looks[place])

    async def _look_anew(self, datastore: Datastore) -> DatastoreFacts | None:
        now_s, seen = asyncio.get_running_loop().time(), None
        with suppress(Failed, TimeoutError):
            async with asyncio.timeout(LOOK_S):
                units = await iscsi.luns(datastore.path)
            seen = DatastoreFacts(
                **datastore.model_dump(exclude={"shared"}),
                shared=True,
                free_bytes=sum(each.size_bytes for each in units),
                luns=units,
                token=" ".join(each.serial for each in units),
            )
        self._seen[datastore.path] = now_s, seen
        return seen


def _facts(datastore: Datastore) -> DatastoreFacts | None:
    with suppress(OSError):  # its directory is not there
        free = free_bytes(Path(datastore.path))
        return DatastoreFacts(
            name=datastore.name,
            path=datastore.path,
            shared=datastore.shared,
            free_bytes=free,
            token=directory.token(Path(datastore.path)),
            writable=os.access(datastore.path, os.W_OK),
        )
    return None


def _beside(work: Callable[[], T]) -> asyncio.Future[T]:
    """In a thread of its own: one that hangs takes no place from others, and does not keep the agent from ending."""
    told = concurrent.futures.Future[T]()

    def run() -> None:
        try:
            told.set_result(work())
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=run, name="datastore", daemon=True).start()
    return asyncio.wrap_future(told)
