"""A file system that does not answer (a mount of NFS whose server is gone) holds up nobody, and is asked once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from godwit.agent import datastores
from godwit.agent.datastores import Datastores
from godwit.core.config import AgentConfig, DatastoreConfig, Tls
from godwit.core.model import Datastore, Lun
from godwit.storage.directory import free_bytes


def test_the_others_are_told_of_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, answers, asked = threading.Event(), tmp_path / "answers", list[Path]()
    for name in ("answers", "hangs"):
        (tmp_path / name).mkdir()

    def look(place: Path) -> int:
        asked.append(place)
        if place != answers:
            hangs.wait()
        return free_bytes(place)

    monkeypatch.setattr(datastores, "free_bytes", look)
    monkeypatch.setattr(datastores, "LOOK_S", 0.01)
    config = AgentConfig(
        host="host-a",
        listen=("127.0.0.1:1",),
        migration_address="127.0.0.1",
        tls=Tls(ca=tmp_path, certificate=tmp_path, key=tmp_path),
        datastores={name: DatastoreConfig(path=tmp_path / name) for name in ("answers", "hangs", "nowhere")},
    )

    async def story() -> None:
        known = Datastores(config)

        async def seen(*names: str) -> None:
            """These, once a busy machine comes to it."""
            async with asyncio.timeout(60):
                while tuple(each.name for each in await known.facts()) != names:
                    pass

        for _ in range(3):
            await seen("answers")
        assert asked.count(tmp_path / "hangs") == 1
        hangs.set()
        await seen("answers", "hangs")

    asyncio.run(story())


def test_who_asks_during_the_first_look_at_a_target_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just after a start: nobody may believe that this host does not see it."""
    looks, begun, answers = list[str](), asyncio.Event(), asyncio.Event()

    async def luns(url: str) -> tuple[Lun, ...]:
        looks.append(url)
        begun.set()
        await answers.wait()
        return (Lun(number=1, size_bytes=1, serial="a"),)

    monkeypatch.setattr("godwit.storage.iscsi.luns", luns)
    monkeypatch.setattr(datastores, "LOOK_S", 60.0)
    tls = Tls(ca=tmp_path, certificate=tmp_path, key=tmp_path)
    config = AgentConfig(host="host-a", listen=("127.0.0.1:1",), migration_address="127.0.0.1", tls=tls)

    async def story() -> None:
        known = Datastores(config)
        known.use([Datastore(name="san", kind="iscsi", path="iscsi://10.0.0.1/store")])
        asked = [asyncio.create_task(known.facts()) for _ in range(3)]
        await begun.wait()
        answers.set()
        for (seen,) in await asyncio.gather(*asked):
            assert (seen.name, seen.token) == ("san", "a")
        assert len(await known.facts()) == 1
        assert len(looks) == 1, "one look for all"

    asyncio.run(story())
