"""Errors as `application/problem+json`: one shape for every one, never a traceback."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from godwit.core.errors import Broken, GodwitError, Invalid, NotFound, Refused
from godwit.core.resources import Problem
from godwit.core.wording import place, wrong

MEDIA_TYPE = "application/problem+json"

LOG = logging.getLogger(__name__)


def register(app: FastAPI) -> None:
    """Whatever goes wrong in a route of this app, the caller is told in this shape."""

    @app.exception_handler(GodwitError)
    async def _godwit_error(request: Request, error: GodwitError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _validation_error(request: Request, error: RequestValidationError) -> Response:
        return answer(Invalid(_words(error), "request"))

    @app.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's, for a body whose bytes are no text
            return answer(Invalid("the request's body is no JSON in UTF-8: send JSON", "request"))
        kind = NotFound if error.status_code == 404 else Refused
        message = f"{request.method} {request.url.path}: {error.detail}; see /docs for what there is"
        return answer(kind(message, "http"), status=error.status_code)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        LOG.error("bug in %s %s", request.method, request.url.path, exc_info=error)
        return answer(Broken(f"{request.method} {request.url.path} met a bug: the manager's log has the traceback"))


def answer(error: GodwitError, status: int | None = None) -> Response:
    """That error as a response."""
    problem = Problem(
        title=error.kind,
        status=status or error.http_status,
        detail=error.message,
        kind=error.kind,
        code=error.code,
    )
    return Response(problem.model_dump_json(), status_code=problem.status, media_type=MEDIA_TYPE)


def _words(error: RequestValidationError) -> str:
    """The first thing wrong, by its place in the request."""
    first = error.errors()[0]
    where = place(first["loc"][1:]) or "the body"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return f"{where}: {wrong(first)}{more}"
