"""How the lab's first process is spoken to: one JSON line with an order, one JSON line with an answer."""

from __future__ import annotations

import signal
import socket
from enum import StrEnum

from godwit.core.errors import GodwitError, Unreachable, from_kind
from godwit.core.model import Fact, Value
from godwit.lab.places import Lab

_MAX_LINE_BYTES = 64 * 1024
_HEARING_S = 2.0


class Verb(StrEnum):
    """What may be ordered."""

    status = "status"
    fault = "fault"
    stop_daemon = "stop-daemon"
    start_daemon = "start-daemon"
    stop = "stop"


class Order(Value):
    """One thing to do; `status` changes nothing."""

    verb: Verb
    node: str = ""
    """Whose daemon."""
    signal: int = signal.SIGTERM
    """How the daemon is ended."""
    fault: str = ""
    on: bool = True


class DaemonState(Fact):
    """The agent or manager of one node."""

    pid: int | None = None
    """As the lab counts; none while it is down."""
    wanted: bool = True
    """False: it was ordered to stay down."""
    starts: int = 0


class Answer(Fact):
    """What the lab's inside looks like after the order, or why the order was not obeyed."""

    holders: dict[str, int] = {}
    """By node, as the lab counts."""
    daemons: dict[str, DaemonState] = {}
    faults: tuple[str, ...] = ()
    error_kind: str = ""
    error: str = ""


def ask(lab: Lab, order: Order, timeout_s: float = 30) -> Answer:
    """What it answered. An order that it refused raises as it was raised there, silence raises `Unreachable`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(str(lab.control_socket))
            line.sendall(order.model_dump_json().encode() + b"\n")
            answer = Answer.model_validate_json(_read_line(line))
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"lab {lab.name} does not answer: look into {lab.log}, or end it with godwit lab down"
        ) from error
    if answer.error:
        raise from_kind(answer.error_kind, answer.error)
    return answer


def listen(lab: Lab) -> socket.socket:
    """A socket on which orders arrive; it has its name only once it answers, so that its name is proof."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deaf = lab.control_socket.with_suffix(".new")
    listener.bind(str(deaf))
    listener.listen()
    deaf.rename(lab.control_socket)
    return listener


def hear(line: socket.socket) -> Order:
    """The order that the caller sends; `OSError` or `ValueError` from one that sends none."""
    line.settimeout(_HEARING_S)
    return Order.model_validate_json(_read_line(line))


def reply(line: socket.socket, answer: Answer) -> None:
    """The caller has the answer."""
    line.sendall(answer.model_dump_json().encode() + b"\n")


def refusal(error: GodwitError) -> Answer:
    """The answer that raises the same error at the caller."""
    return Answer(error_kind=error.kind, error=error.message)


def _read_line(line: socket.socket) -> bytes:
    heard = b""
    while not heard.endswith(b"\n"):
        piece = line.recv(_MAX_LINE_BYTES)
        if not piece:
            raise ConnectionResetError("the line ended early")
        heard += piece
    return heard
