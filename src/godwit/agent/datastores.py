"""The datastores that this host sees: those of its configuration, and those that the manager told of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from godwit.core.config import AgentConfig
from godwit.core.errors import NotFound
from godwit.core.model import Datastore, DatastoreFacts
from godwit.storage import directory
from godwit.storage.directory import free_bytes


class Datastores:
    """Where both name one, the host's own configuration holds."""

    def __init__(self, config: AgentConfig) -> None:
        self._host = config.host
        self._own = {
            name: Datastore(name=name, path=str(each.path), shared=each.shared)
            for name, each in config.datastores.items()
        }
        self._known = self._own

    def use(self, told: Iterable[Datastore]) -> None:
        """The manager's datastores are these."""
        self._known = {each.name: each for each in told} | self._own

    def path(self, name: str) -> Path:
        """Where that datastore is; `NotFound` if this host does not see it."""
        datastore = self._known.get(name)
        if datastore is None or not Path(datastore.path).is_dir():
            raise NotFound(
                f"{self._host} does not see datastore {name!r}: mount it there, or see `godwit datastore list`",
                "no-datastore",
            )
        return Path(datastore.path)

    def told_apart(self, name: str) -> None:
        """Something lies there now: hosts that see it, and only they, can tell that it is the same."""
        directory.make_token(self.path(name))

    def facts(self) -> tuple[DatastoreFacts, ...]:
        """Of those that are there now, by name."""
        return tuple(_facts(self._known))


def _facts(known: dict[str, Datastore]) -> Iterable[DatastoreFacts]:
    for name in sorted(known):
        each = known[name]
        with suppress(OSError):  # its directory is not there
            free = free_bytes(Path(each.path))
            yield DatastoreFacts(
                name=name,
                path=each.path,
                shared=each.shared,
                free_bytes=free,
                token=directory.token(Path(each.path)),
                writable=os.access(each.path, os.W_OK),
            )
