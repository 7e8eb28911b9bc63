"""The door: every route has a role, and nothing gets past it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.client.live import Live
from tests.client.sites import TOKENS, living_over_tcp

from godwit.api.access import needed_role
from godwit.api.exchange import BODY_BYTES_MAX
from godwit.core.config import Role
from godwit.core.resources import Problem

ROLES = {
    Role.read: {"GET /vms", "GET /vms/x", "GET /hosts", "GET /migrations/x/events", "GET /metrics", "HEAD /vms"},
    Role.operate: {
        "POST /migrations",
        "DELETE /migrations/x",
        "POST /vms/x/start",
        "POST /vms/x/stop",
        "WEBSOCKET /vms/x/console",
        "POST /vms/x/rehearsals",
    },
    Role.admin: {
        "POST /vms",
        "DELETE /vms/x",
        "POST /datastores",
        "DELETE /datastores/x",
        "GET /audit",
        "POST /vms/x/y/stop",
        "PATCH /anything",
        "PATCH /vms/x",
        "OPTIONS /vms",
        "POST /docs",
    },
}


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[httpx.Client]:
    with living_over_tcp(tmp_path) as live, _client(live, tmp_path) as caller:
        yield caller


def _client(live: Live, directory: Path) -> httpx.Client:
    import ssl

    trust = ssl.create_default_context(cafile=str(directory / "pki" / "ca.pem"))
    return httpx.Client(base_url=f"https://127.0.0.1:{live.port}", verify=trust, trust_env=False)


@pytest.mark.parametrize(("role", "request_"), [(role, each) for role, all_ in ROLES.items() for each in sorted(all_)])
def test_the_role_that_a_request_needs(role: Role, request_: str) -> None:
    assert needed_role(*request_.split()) is role


def test_without_a_token_there_is_only_the_description(caller: httpx.Client) -> None:
    document = caller.get("/openapi.json")
    assert document.status_code == 200
    for path, operations in document.json()["paths"].items():
        for method in operations:
            answer = caller.request(method, re.sub(r"\{\w+\}", "x", path))
            problem = Problem.model_validate_json(answer.content)
            assert (answer.status_code, problem.code, answer.headers["www-authenticate"]) == (401, "no-token", "Bearer")
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("words", ["Bearer", "Bearer x", "Basic gw_admin-of-the-tests", "gw_admin-of-the-tests", "é"])
def test_what_is_no_token_of_ours_is_none(words: str, caller: httpx.Client) -> None:
    answer = caller.get("/vms", headers={b"Authorization": words.encode()})
    assert answer.status_code == 401
    assert "gw_" not in answer.text


def test_a_body_without_end_is_refused(caller: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[Role.admin]}"}
    answer = caller.post("/vms", headers=headers, content=b" " * (BODY_BYTES_MAX + 1))
    assert (answer.status_code, Problem.model_validate_json(answer.content).code) == (413, "too-large")
