"""The API's description of itself: what each request needs, what may go wrong, with examples."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from types import ModuleType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from godwit.api.access import needed_role
from godwit.api.once import HEADER, PATHS
from godwit.api.problems import MEDIA_TYPE
from godwit.core import checked, draining, finding, migration, model, report, resources
from godwit.core.config import Role

SUMMARY = "Live migration of QEMU virtual machines"
DESCRIPTION = """\
Everything that `godwit` can do is done through this API.

* On the manager's **unix socket** whoever may open it may do everything.
* Over **TCP** (`[listen]` in the manager's configuration, always TLS) each request carries
  `Authorization: Bearer TOKEN`.
  A token has a role: `read` sees, `operate` also starts, stops and moves VMs, `admin` also makes and deletes.
* **Errors** are `application/problem+json` (RFC 9457). `detail` is one sentence for a person, `kind` says what a caller
  can do about it, `code` is stable for programs.
* A request that makes something may carry an `Idempotency-Key`: sent again within a day it is answered as it was.
* What happens to a migration is **streamed** as server-sent events; name the last one seen in `Last-Event-ID` to go on.
"""
TAGS = [
    {"name": "migrations", "description": "Moving VMs: started, followed, cancelled, reported."},
    {"name": "vms", "description": "Virtual machines: made, started, stopped, shown, deleted."},
    {"name": "hosts", "description": "Who there is, and who answers; emptied and taken back."},
    {"name": "inventory", "description": "Networks, datastores, disks and images."},
    {"name": "audit", "description": "Who asked for what."},
    {"name": "metrics", "description": "Numbers for Prometheus."},
]
METRICS: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}

_EXAMPLES: dict[str, Any] = {
    "VmRequest": {"name": "web-1", "memory_mib": 2048, "cpus": 2, "nics": [{"network": "lan"}]},
    "MigrationRequest": {"vm": "web-1", "destination": "host-b", "max_blackout_ms": 300},
    "Datastore": {"name": "fast", "path": "/srv/fast", "shared": False},
    "Problem": {
        "type": "about:blank",
        "title": "not-found",
        "status": 404,
        "detail": "there is no VM 'web-9': see `godwit vm list`",
        "kind": "not-found",
        "code": "no-vm",
    },
}
_ERRORS = {
    401: "No token, or one that the manager does not know (TCP only).",
    403: "The token's role does not allow this (TCP only).",
    404: "What the path or the request names does not exist.",
    409: "Refused: it cannot be done now, and nothing was touched.",
    413: "The request's body is too long.",
    422: "Invalid: the request's words are wrong, and nothing was touched.",
    500: "Failed and undone (`failed`), nobody knows who owns the VM (`in-doubt`), or a bug (`broken`).",
    502: "Unreachable: a host did not answer, and the order may or may not have been carried out.",
    504: "A deadline passed.",
}
_METHODS = {"get", "post", "put", "patch", "delete"}


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document = get_openapi(
        title=app.title, version=app.version, summary=SUMMARY, description=DESCRIPTION, tags=TAGS, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = resources.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in schemas.items():
        _explain(name, schema)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                _complete(operation, method.upper(), path)
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "Made by `godwit pki token`; TCP only."}
    }
    return document


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    """What every operation has in common, so that no route has to say it."""
    role = needed_role(method, re.sub(r"\{\w+\}", "x", path)) or Role.read
    operation["security"] = [{"token": []}]
    operation["x-role"] = role.value
    operation["description"] = f"{operation.get('description', '')}\n\nNeeds the role `{role}`.".strip()
    operation["responses"].pop("422", None)
    for status in _errors(operation, method, path):
        operation["responses"][str(status)] = _problem(status)
    if method == "POST" and path in PATHS:
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)


def _errors(operation: dict[str, Any], method: str, path: str) -> list[int]:
    changes = method != "GET"
    has_words = bool(operation.get("parameters") or operation.get("requestBody"))
    wanted = {
        404: "{" in path or "requestBody" in operation,
        409: changes,
        413: "requestBody" in operation,
        422: has_words,
        502: changes or path.startswith("/hosts"),
        504: changes or path.startswith("/hosts"),
    }
    return [status for status in _ERRORS if wanted.get(status, True)]


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _ERRORS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


_KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any text of your own, such as a UUID. The same request sent again with it within a day is answered "
    "as the first one was, and nothing is done twice; another request with it is refused (422).",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "example": "0d0c1b1e-6f1f-4a52-9a53-3c1a2d8f6c11",
}


def _explain(name: str, schema: dict[str, Any]) -> None:
    """The words that stand beside the fields in the source."""
    for field, words in _docstrings().get(name, {}).items():
        if field in schema.get("properties", {}):
            schema["properties"][field].setdefault("description", words)
    if name in _EXAMPLES:
        schema["examples"] = [_EXAMPLES[name]]


@cache
def _docstrings() -> dict[str, dict[str, str]]:
    return {
        name: words
        for module in (model, resources, migration, report, finding, checked, draining)
        for name, words in _of_module(module)
    }


def _of_module(module: ModuleType) -> list[tuple[str, dict[str, str]]]:
    tree = ast.parse(inspect.getsource(module))
    return [(node.name, _of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)]


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    """A string that follows a field is what it means."""
    found = {}
    for field, words in zip(node.body, node.body[1:], strict=False):
        match field, words:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found
