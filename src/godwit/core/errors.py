"""The one tree of errors, ordered by what the caller can do about them.

GodwitError
|-- Refused      nothing was touched: change the request                   (exit 2, HTTP 409/404/422)
|   |-- NotFound     the thing named is not there
|   `-- Invalid      the words of the request are wrong
|-- Failed       it was tried and undone: the VM runs where it was         (exit 1, HTTP 500/502/503)
|   |-- Unreachable  a peer did not answer; the order may or may not have arrived: query, then repeat
|   |-- TimedOut     a deadline passed
|   `-- Cancelled    somebody asked for it                                 (exit 130)
|-- Unresolved   it is not known who owns the VM: a person must look       (exit 3)
`-- Broken       a bug or a violated invariant: report it                  (exit 1)

Every message says what, where, and what to do next, in one sentence. `code` is stable for programs.
"""

from __future__ import annotations

from typing import ClassVar


class GodwitError(Exception):
    """Base of all errors that godwit raises on purpose."""

    kind: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.kind


class Refused(GodwitError):
    """Nothing was touched."""

    kind = "refused"
    exit_status = 2
    http_status = 409


class NotFound(Refused):
    """The thing named does not exist; nothing was touched."""

    kind = "not-found"
    http_status = 404


class Invalid(Refused):
    """The request's words are wrong; nothing was touched."""

    kind = "invalid"
    http_status = 422


class Failed(GodwitError):
    """It was tried; what was done has been undone."""

    kind = "failed"


class Unreachable(Failed):
    """A peer did not answer: the order may or may not have been carried out."""

    kind = "unreachable"
    http_status = 502


class TimedOut(Failed):
    """A deadline passed."""

    kind = "timed-out"
    http_status = 504


class Cancelled(Failed):
    """Somebody asked for it to stop; what was done has been undone."""

    kind = "cancelled"
    exit_status = 130


class Unresolved(GodwitError):
    """It is not known who owns the VM: nothing is started, a person must look."""

    kind = "in-doubt"
    exit_status = 3


class Broken(GodwitError):
    """An invariant does not hold: a bug."""

    kind = "broken"


def may_be_repeated(error: GodwitError) -> bool:
    """No answer came: the order may or may not have been carried out, and whoever got it goes on or begins anew."""
    return isinstance(error, Unreachable) or error.code == "no-answer"


KINDS: dict[str, type[GodwitError]] = {
    each.kind: each
    for each in (Refused, NotFound, Invalid, Failed, Unreachable, TimedOut, Cancelled, Unresolved, Broken)
}
"""The tree by its wire names; every class above is here."""


def from_kind(kind: str, message: str, code: str = "") -> GodwitError:
    """The error of that kind; an unknown kind (a newer peer) becomes `Failed`, never a crash."""
    return KINDS.get(kind, Failed)(message, code)
