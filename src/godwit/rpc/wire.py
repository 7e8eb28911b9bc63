"""The wire: the table of verbs made from the contracts themselves, and messages and errors as bytes.

A verb is a method of a Protocol in contract/ that takes one message (or a stream) and returns one (or a stream).
Messages are JSON in UTF-8, one pydantic model each. The caller sends WIRE_VERSION with every call, and a server that
has another one refuses it: raise it whenever a contract changes (tests/rpc/test_wire.py holds the fingerprints).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import isfunction
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from godwit.core.errors import Broken, Failed, GodwitError, Invalid, from_kind

WIRE_VERSION = 1

VERSION_KEY = "godwit-wire"
"""Metadata of a call: the caller's WIRE_VERSION in decimal."""
ERROR_KEY = "godwit-error-bin"
"""Trailing metadata of a failed call: the error as JSON; the suffix makes gRPC carry it as bytes."""

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
ERROR_CHARACTERS_MAX = 1000
"""Of an error's message; gRPC drops the connection's metadata above 8 KiB, and JSON may need six bytes for each."""

Message = TypeVar("Message", bound=BaseModel)


@dataclass(frozen=True)
class Verb:
    """One method of a contract."""

    name: str
    request: type[BaseModel]
    response: type[BaseModel]
    requests_stream: bool
    responses_stream: bool


@cache
def verbs(protocol: type) -> Mapping[str, Verb]:
    """Each public method of the protocol by name, in the order of its file; `Broken` if one has another shape."""
    parts = [each for each in reversed(protocol.__mro__) if each not in {object, Generic, Protocol}]
    return {
        name: _verb(protocol, name)
        for part in parts
        for name, member in vars(part).items()
        if isfunction(member) and not name.startswith("_")
    }


def service(protocol: type) -> str:
    """The protocol's name on the wire."""
    return f"godwit.{protocol.__name__}"


def method(protocol: type, verb: Verb) -> str:
    """The verb's full name on the wire."""
    return f"/{service(protocol)}/{verb.name}"


def encode(message: BaseModel) -> bytes:
    """The message as bytes."""
    return message.model_dump_json().encode()


def decode(kind: type[Message], data: bytes) -> Message:
    """The message in these bytes; `Invalid`, naming the first thing that is wrong with them, if it is none."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise Invalid(f"this is no {kind.__name__} ({what}); use the same godwit on both sides") from error


def encode_error(error: GodwitError) -> bytes:
    """The error by kind, code and message, at most about 6 KiB."""
    message = error.message
    if len(message) > ERROR_CHARACTERS_MAX:
        message = message[: ERROR_CHARACTERS_MAX - 1] + "…"
    return json.dumps({"kind": error.kind, "code": error.code[:100], "message": message}).encode()


def decode_error(data: bytes) -> GodwitError:
    """The error that the peer raised; what cannot be read is `Failed`, never an exception of its own."""
    try:
        words = json.loads(data)
        return from_kind(str(words["kind"]), str(words["message"]), str(words["code"]))
    except (ValueError, KeyError, TypeError):
        return Failed("the peer reported an error that cannot be read; see the peer's log")


def fingerprint(protocol: type) -> str:
    """Changes whenever a verb or a message does; comments and docstrings do not count."""
    table = [
        [
            verb.name,
            verb.requests_stream,
            verb.responses_stream,
            _without_prose(verb.request.model_json_schema()),
            _without_prose(verb.response.model_json_schema()),
        ]
        for verb in verbs(protocol).values()
    ]
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def _verb(protocol: type, name: str) -> Verb:
    hints = get_type_hints(getattr(protocol, name))
    response = hints.pop("return", None)
    if len(hints) != 1:
        raise Broken(f"{protocol.__name__}.{name} must take exactly one message")
    request, requests_stream = _message(protocol, name, next(iter(hints.values())))
    answer, responses_stream = _message(protocol, name, response)
    return Verb(name, request, answer, requests_stream, responses_stream)


def _message(protocol: type, name: str, hint: Any) -> tuple[type[BaseModel], bool]:
    streams = get_origin(hint) is AsyncIterator
    kind = get_args(hint)[0] if streams else hint
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        raise Broken(f"{protocol.__name__}.{name} carries {hint}: only pydantic models and AsyncIterators of them")
    return kind, streams


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _without_prose(value)
            for key, value in schema.items()
            if not (key in ("title", "description") and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_prose(each) for each in schema]
    return schema
