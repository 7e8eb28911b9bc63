"""A request that is sent again is not done again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.manager.site import MOVE, WEB, Site, make_site

from godwit.api.app import build
from godwit.api.once import KEPT, Once
from godwit.contract.store import Answer
from godwit.core.resources import Problem
from godwit.telemetry.metrics import CONTENT_TYPE
from godwit.testing.clock import run

Story = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def tell(site: Site, story: Story) -> None:
    async def told() -> None:
        async with site.manager() as manager:
            app = Once(build(manager, lambda: (b"", CONTENT_TYPE)), site.store)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://manager") as client:
                await story(client)

    run(told())


async def post(client: httpx.AsyncClient, path: str, body: Any, key: str) -> httpx.Response:
    words: Mapping[str, Any] = body if isinstance(body, dict) else body.model_dump(mode="json")
    return await client.post(path, json=words, headers={"Idempotency-Key": key})


def problem(answer: httpx.Response) -> tuple[int, str]:
    told = Problem.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, told.code


def test_the_same_request_has_the_same_answer_and_is_done_once(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        made = await post(client, "/vms", WEB, "one")
        again = await post(client, "/vms", WEB, "one")
        assert (again.status_code, again.content) == (201, made.content)
        assert ("idempotency-replayed" in made.headers, again.headers["idempotency-replayed"]) == (False, "true")
        started = await post(client, "/migrations", MOVE, "one")  # keys of one path mean nothing on another
        body = dict(reversed(MOVE.model_dump(mode="json").items()))
        assert (await post(client, "/migrations", body, "one")).content == started.content
        assert [each["id"] for each in (await client.get("/migrations")).json()] == ["m1"]

    tell(site, story)


def test_another_request_under_the_same_key_is_invalid(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB, "one")
        other = WEB.model_copy(update={"name": "web-2"})
        assert problem(await post(client, "/vms", other, "one")) == (422, "key-reused")
        assert [each["name"] for each in (await client.get("/vms")).json()] == ["web-1"]

    tell(site, story)


def test_what_touched_nothing_leaves_the_key_free(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        assert problem(await post(client, "/migrations", MOVE, "one"))[0] == 404
        await post(client, "/vms", WEB, "two")
        assert (await post(client, "/migrations", MOVE, "one")).status_code == 201

    tell(site, story)


def test_what_was_tried_and_failed_is_answered_again(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        site.doors["host-a"].loses_answers_of.add("start_vm")
        first = await post(client, "/vms", WEB, "one")
        assert first.status_code == 502
        site.doors["host-a"].loses_answers_of.clear()
        assert (await post(client, "/vms", WEB, "one")).content == first.content

    tell(site, story)


def test_one_at_a_time(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        import asyncio

        entered = site.doors["host-a"].hold("start_vm")
        first = asyncio.create_task(post(client, "/vms", WEB, "one"))
        await entered.wait()
        assert problem(await post(client, "/vms", WEB, "one")) == (409, "busy")
        site.doors["host-a"].held["start_vm"].set()
        assert (await first).status_code == 201

    tell(site, story)


def test_a_manager_that_ended_meanwhile_does_not_guess(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await post(client, "/vms", WEB, "one")
        (kept,) = site.store._answers.values()
        await site.store.keep_answer(kept.model_copy(update={"status": None}), forget_before=kept.at)
        assert answer.status_code == 201
        assert problem(await post(client, "/vms", WEB, "one")) == (409, "key-unfinished")

    tell(site, story)


def test_after_a_day_the_key_is_free(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        old = datetime.now(UTC) - KEPT - timedelta(seconds=1)
        kept = Answer(key=" /vms one", fingerprint="other", status=201, body="{}", at=old)
        await site.store.keep_answer(kept, forget_before=old)
        assert (await post(client, "/vms", WEB, "one")).json()["name"] == "web-1"

    tell(site, story)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201])
def test_what_is_no_key_is_invalid(site: Site, key: str) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        assert problem(await post(client, "/vms", WEB, key)) == (422, "key")

    tell(site, story)


def test_elsewhere_the_header_means_nothing(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB, "one")
        for state in ("stopped", "running"):
            verb = {"stopped": "stop", "running": "start"}[state]
            answer = await client.post(f"/vms/web-1/{verb}", headers={"Idempotency-Key": "one"})
            assert answer.json()["state"] == state

    tell(site, story)
