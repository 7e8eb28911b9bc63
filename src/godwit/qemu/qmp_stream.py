"""Cutting QMP's byte stream into JSON objects, whether or not the peer ends them with a newline."""

from __future__ import annotations

import json
from typing import Any

_DECODER = json.JSONDecoder()


class Objects:
    """Collects bytes and yields the whole objects in them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects that are complete now; a line that is none counts as an empty object, which nobody obeys."""
        self._rest = (self._rest + data).lstrip()
        found: list[dict[str, Any]] = []
        while self._rest:
            one = self._next()
            if one is None:
                break
            found.append(one)
        return found

    def _next(self) -> dict[str, Any] | None:
        """None: not complete yet."""
        line, newline, after = self._rest.partition(b"\n")
        if not newline and not line.rstrip().endswith(b"}"):
            return None  # not worth parsing: long answers come in many pieces
        try:
            text = line.decode()
            one, end = _DECODER.raw_decode(text)
        except ValueError:
            if not newline:
                return None
            self._rest = after.lstrip()
            return {}
        self._rest = (text[end:].encode() + newline + after).lstrip()
        return one if isinstance(one, dict) else {}


def encode(message: dict[str, Any]) -> bytes:
    """The message as QEMU would write it."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\r\n"
