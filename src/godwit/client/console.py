"""A VM's serial console as bytes both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from godwit.client.place import Place, tls_context, unreachable
from godwit.core.errors import Failed, GodwitError, from_kind

if TYPE_CHECKING:
    from websockets.http11 import Response
    from websockets.sync.client import ClientConnection


class Console:
    """One open console: one thread may write while another reads."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        """The VM gets these bytes, unless the console has ended."""
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(data)
        except ConnectionClosed:
            return

    def output(self) -> Iterator[bytes]:
        """What the VM prints, until the console ends; `Failed` if it ended for a reason."""
        from websockets.exceptions import ConnectionClosedError

        try:
            for data in self._connection:
                yield data if isinstance(data, bytes) else data.encode()
        except ConnectionClosedError as error:
            reason = error.rcvd.reason if error.rcvd else ""
            raise Failed(reason or "the manager broke off the console: open it again") from error

    def close(self) -> None:
        """It has ended."""
        self._connection.close()


@contextmanager
def open_console(place: Place, vm: str) -> Iterator[Console]:
    """That VM's console, as long as this holds; raises what the manager says when there is none."""
    from websockets.exceptions import InvalidStatus

    with ExitStack() as stack:
        try:
            connection = stack.enter_context(_connect(place, f"/vms/{vm}/console"))
        except InvalidStatus as error:
            raise _refusal(error.response) from error
        except OSError as error:
            raise unreachable(place, str(error)) from error
        yield Console(connection)


def _connect(place: Place, path: str) -> ClientConnection:
    from websockets.sync.client import connect, unix_connect

    if isinstance(place, Path):
        return unix_connect(str(place), f"ws://manager{path}", compression=None)
    return connect(
        f"wss{place.url.removeprefix('https')}{path}",
        ssl=tls_context(place),
        additional_headers=place.headers,
        compression=None,
        proxy=None,
    )


def _refusal(response: Response) -> GodwitError:
    from pydantic import ValidationError

    from godwit.core.resources import Problem

    try:
        problem = Problem.model_validate_json(response.body or b"")
    except ValidationError:
        return Failed(f"the manager answered {response.status_code} instead of a console: is it godwit's?")
    return from_kind(problem.kind, problem.detail, problem.code)
