"""What the API says of itself is complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.manager.site import make_site

from godwit.api.app import build
from godwit.core.migration import MigrationRequest
from godwit.core.resources import Problem, VmRequest
from godwit.telemetry.metrics import CONTENT_TYPE


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    manager = make_site(tmp_path_factory.mktemp("site")).start()
    return build(manager, lambda: (b"", CONTENT_TYPE)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, all_ in document["paths"].items():
        for method, operation in all_.items():
            yield path, method, operation


def test_every_operation_says_what_it_is_and_needs(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert "Needs the role `" in operation["description"], where
        assert operation["x-role"] in {"read", "operate", "admin"}, where
        assert set(operation["tags"]) <= known, where


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (path, method, status)
            if status >= "400":
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)
        assert {"401", "403", "500"} <= operation["responses"].keys(), (path, method)


def test_what_makes_something_takes_a_key(document: dict[str, Any]) -> None:
    taking = {
        (method, path)
        for path, method, operation in operations(document)
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", []))
    }
    assert taking == {("post", "/migrations"), ("post", "/vms")}


def test_examples_are_right_and_fields_explained(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for kind in (VmRequest, MigrationRequest, Problem):
        (example,) = schemas[kind.__name__]["examples"]
        kind.model_validate(example)
    assert schemas["MigrationRequest"]["properties"]["destination"]["description"].startswith("None: the manager")
    assert schemas["Migration"]["properties"]["epoch"]["description"].startswith("Counts the moves")
