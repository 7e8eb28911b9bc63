"""The REST API: shapes, errors, streams."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from tests.manager.site import MOVE, WEB, Site, make_site

from godwit.api.app import build
from godwit.core.migration import Event
from godwit.core.resources import Problem
from godwit.telemetry.metrics import CONTENT_TYPE, Metrics
from godwit.testing.clock import run

Story = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def tell(site: Site, story: Story) -> None:
    """The story, told to the API of a manager."""

    async def told() -> None:
        metrics = Metrics()
        async with site.manager(metrics.observe) as manager:
            app = build(manager, lambda: (metrics.text(), CONTENT_TYPE))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://manager") as client:
                await story(client)

    run(told())


async def post(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    return await client.post(path, content=body.model_dump_json(), headers={"content-type": "application/json"})


async def events(client: httpx.AsyncClient, after: int | None = None) -> list[Event]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with aconnect_sse(client, "GET", "/migrations/m1/events", headers=headers) as source:
        sent = [each async for each in source.aiter_sse()]
    told = [Event.model_validate_json(each.data) for each in sent]
    assert [each.id for each in sent] == [str(event.sequence) for event in told]
    assert [each.event for each in sent] == [event.kind for event in told]
    return told


def test_a_vm_through_its_life(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        created = await post(client, "/vms", WEB)
        assert (created.status_code, created.json()["state"]) == (201, "running")
        assert (await client.get("/vms")).json() == [created.json()]
        assert (await client.get("/vms/web-1")).json() == created.json()
        assert (await client.post("/vms/web-1/stop?grace_s=0")).json()["state"] == "stopped"
        assert (await client.post("/vms/web-1/start")).json()["state"] == "running"
        await client.post("/vms/web-1/stop")
        assert (await client.delete("/vms/web-1")).status_code == 204
        assert (await client.get("/vms")).json() == []

    tell(site, story)


def test_what_there_is(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        hosts = (await client.get("/hosts")).json()
        assert [(host["name"], host["reachable"]) for host in hosts] == [("host-a", True), ("host-b", True)]
        assert hosts[0] == (await client.get("/hosts/host-a")).json()
        networks = (await client.get("/networks")).json()
        assert [(each["name"], each["hosts"]) for each in networks] == [("dark", []), ("lan", ["host-a", "host-b"])]
        datastore = (await client.get("/datastores")).json()[0]
        assert (datastore["name"], datastore["shared"]) == ("default", True)
        assert (await client.get("/datastores/default")).json() == datastore
        assert [each["name"] for each in (await client.get("/images")).json()] == ["base"]
        assert (await client.get("/disks")).json() == []

    tell(site, story)


def test_a_datastore_is_added_and_removed(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        body = {"name": "nfs", "path": "/mnt/nfs", "shared": True}
        added = await client.post("/datastores", json=body)
        assert (added.status_code, added.json()["hosts"]) == (201, ["host-a", "host-b"])
        assert added.json() in (await client.get("/datastores")).json()
        assert (await client.post("/datastores", json=body)).status_code == 409
        assert (await client.delete("/datastores/nfs")).status_code == 204
        assert (await client.get("/datastores/nfs")).status_code == 404

    tell(site, story)


def test_a_silent_host_is_shown_as_such(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        site.doors["host-b"].is_cut = True
        host = (await client.get("/hosts/host-b")).json()
        assert (host["reachable"], host["reason"]) == (False, "the line is cut")
        assert [each["reachable"] for each in (await client.get("/hosts")).json()] == [True, False]

    tell(site, story)


def test_a_migration_through_its_life(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB)
        started = await post(client, "/migrations", MOVE)
        assert (started.status_code, started.json()["phase"]) == (201, "pending")
        told = await events(client)
        assert [event.sequence for event in told] == list(range(1, len(told) + 1))
        assert told[-1].phase == "done"
        migration = (await client.get("/migrations/m1")).json()
        assert migration["phase"] == "done"
        assert (await client.get("/migrations")).json() == [migration]
        report = (await client.get("/migrations/m1/report")).json()
        assert (report["outcome"], report["blackout_ms"], report["connections"]) == ("done", 10.0, None)

    tell(site, story)


def test_a_stream_is_resumed_after_the_number_named(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB)
        await post(client, "/migrations", MOVE)
        told = await events(client)
        assert await events(client, after=4) == told[4:]
        assert await events(client, after=len(told)) == []

    tell(site, story)


def test_a_migration_is_cancelled(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB)
        await post(client, "/migrations", MOVE)
        assert (await client.delete("/migrations/m1")).status_code == 202
        assert (await events(client))[-1].phase == "cancelled"

    tell(site, story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "detail"),
    [
        ("GET", "/vms/nil", None, 404, "not-found", "there is no VM 'nil': see `godwit vm list`"),
        ("GET", "/hosts/nil", None, 404, "not-found", "there is no host 'nil': the manager knows host-a, host-b"),
        ("GET", "/datastores/nil", None, 404, "not-found", "there is no datastore 'nil'"),
        ("GET", "/migrations/nil", None, 404, "not-found", "there is no migration 'nil'"),
        ("GET", "/migrations/nil/events", None, 404, "not-found", "there is no migration 'nil'"),
        ("GET", "/migrations/nil/report", None, 404, "not-found", "there is no migration 'nil'"),
        ("DELETE", "/migrations/nil", None, 404, "not-found", "there is no migration 'nil'"),
        ("GET", "/nowhere", None, 404, "not-found", "GET /nowhere: Not Found"),
        ("PUT", "/vms", None, 405, "refused", "PUT /vms: Method Not Allowed"),
        ("POST", "/vms", {}, 422, "invalid", "name: it is missing"),
        ("POST", "/vms", {"name": "UP", "cpus": 0}, 422, "invalid", "(and 1 more)"),
        ("POST", "/vms", {"name": "a", "colour": "red"}, 422, "invalid", "colour: Extra inputs are not permitted"),
        ("POST", "/vms", "{", 422, "invalid", "JSON decode error"),
        ("POST", "/vms", b"\xff", 422, "invalid", "the request's body is no JSON in UTF-8"),
        ("POST", "/vms/nil/stop?grace_s=x", None, 422, "invalid", "grace_s: "),
        ("POST", "/vms", {"name": "a", "host": "host-a", "memory_mib": 9999}, 409, "refused", "needs 9999 MiB"),
        ("GET", "/vms/", None, 404, "not-found", "GET /vms/: Not Found"),
    ],
)
def test_every_error_is_a_problem(
    site: Site, method: str, path: str, body: Any, status: int, kind: str, detail: str
) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        content = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        answer = await client.request(method, path, content=content, headers={"content-type": "application/json"})
        problem = Problem.model_validate_json(answer.content)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, problem.status, problem.kind) == (status, status, kind)
        assert detail in problem.detail

    tell(site, story)


def test_a_bug_is_a_problem_without_a_traceback(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        site.world.source.told = None  # type: ignore[assignment]
        answer = await client.get("/hosts/host-a")
        problem = Problem.model_validate_json(answer.content)
        assert (answer.status_code, problem.kind) == (500, "broken")
        assert problem.detail == "GET /hosts/host-a met a bug: the manager's log has the traceback"
        assert "AttributeError" in caplog.text

    tell(site, story)


def test_metrics_count_what_the_feed_tells(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await post(client, "/vms", WEB)
        await post(client, "/migrations", MOVE)
        await events(client)
        answer = await client.get("/metrics")
        assert answer.headers["content-type"] == CONTENT_TYPE
        assert 'godwit_migrations_total{outcome="done"} 1.0' in answer.text
        assert "godwit_blackout_ms_count 1.0" in answer.text
        assert "godwit_migrations_running 0.0" in answer.text

    tell(site, story)


def test_the_api_describes_itself(site: Site) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert {"/vms", "/hosts/{name}", "/migrations/{id}/events", "/metrics"} <= paths.keys()

    tell(site, story)
