"""Whatever is sent to the API, as it describes itself and beside that, is answered as described, never with a bug."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance
from tests.client.live import Live
from tests.client.sites import TOKENS, living_over_tcp
from tests.manager.site import MOVE, WEB, make_site

from godwit.api.app import build
from godwit.client.client import Client
from godwit.core.config import Role

EXAMPLES = 10
"""For each operation, right and wrong words alike; all of it takes some thirty seconds."""
ANSWER_S = 60
HEADERS = {"Authorization": f"Bearer {TOKENS[Role.admin]}"}

ELSEWHERE = [
    positive_data_acceptance,  # words may be well formed and still wrong together: 422 says so
    negative_data_rejection,  # words in a query that nobody asked for are passed by
    ignored_auth,  # test_guard.py tries every route without a token
]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with living_over_tcp(tmp_path_factory.mktemp("site")) as live:
        with Client(live.socket) as client:  # something to find
            client.create_vm(WEB)
            list(client.events(client.migrate(MOVE).id))
        yield live


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def operations() -> list[Any]:
    """Every one that the API describes."""
    with tempfile.TemporaryDirectory() as directory:
        document = build(make_site(Path(directory)).start(), lambda: (b"", "text/plain")).openapi()
    schema: Any = schemathesis.openapi.from_dict(document)
    return [each.ok() for each in schema.get_all_operations()]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", operations(), ids=lambda each: each.label)
def test_whatever_is_sent(
    operation: Any, mode: Any, live: Live, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    authority = str(live.site.config.tls.ca.parent / "pki" / "ca.pem")

    @settings(
        derandomize=True,
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # as it was found: making it smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        case.call_and_validate(
            f"https://127.0.0.1:{live.port}",
            session,
            HEADERS,
            excluded_checks=ELSEWHERE,
            timeout=ANSWER_S,
            verify=authority,
        )

    with suppress(Unsatisfiable):  # nothing can be said wrongly: it takes no words
        send()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
