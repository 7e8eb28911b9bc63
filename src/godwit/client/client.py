"""The REST API as an object: core's models out, core's errors raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote as _quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from godwit.client.console import Console, open_console
from godwit.client.lean import httpx
from godwit.client.place import Place, http_client, unreachable
from godwit.core.draining import Drain
from godwit.core.errors import Failed, GodwitError, Unreachable, from_kind
from godwit.core.leftover import Leftovers
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest, SettleRequest
from godwit.core.model import Datastore, Image
from godwit.core.phase import Phase
from godwit.core.resources import (
    AuditEntry,
    DatastoreView,
    DiskView,
    DrainRequest,
    HostState,
    NetworkView,
    Problem,
    VmChange,
    VmRequest,
    VmView,
)

if TYPE_CHECKING:
    from godwit.core.checked import Checked, Rehearsal, RehearsalRequest
    from godwit.core.report import DryRun, Report

T = TypeVar("T")

quote = partial(_quote, safe="")

COPY_S = 3700.0
"""How long making a VM may take, whose disk image may be large."""
ANSWER_S = 180.0
"""How long an order may take: starting a VM may rightly take a host two minutes."""
RESUME_TRIES = 20
RESUME_PAUSE_S = 0.5


class Client:
    """One manager, spoken to over its unix socket (a path), or over TCP (a `Remote`)."""

    def __init__(
        self, place: Place, *, pause: Callable[[float], None] = time.sleep, timeout_s: float = ANSWER_S
    ) -> None:
        self._place = place
        self._pause = pause
        self._answer_s = timeout_s
        self._http = http_client(place, timeout_s=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held any more."""
        self._http.close()

    def hosts(self) -> list[HostState]:
        """All hosts, asked now."""
        return self._ask("GET", "/hosts", list[HostState])

    def host(self, name: str, *, arrivals: bool = False) -> HostState:
        """That host, asked now; with `arrivals`, which VMs could come there."""
        return self._ask("GET", f"/hosts/{quote(name)}{'?arrivals=true' if arrivals else ''}", HostState)

    def drain_plan(self, host: str) -> Drain:
        """Where its VMs would go, and which cannot; nothing is changed."""
        return self._ask("GET", f"/hosts/{quote(host)}/drain", Drain)

    def drain(self, host: str, *, parallel: int | None = None) -> Drain:
        """Nothing new is placed there, and what can go is on its way."""
        return self._ask("POST", f"/hosts/{quote(host)}/drain", Drain, body=DrainRequest(parallel=parallel))

    def activate(self, host: str) -> HostState:
        """It takes VMs again."""
        return self._ask("POST", f"/hosts/{quote(host)}/activate", HostState)

    def leftovers(self, host: str, *, repair: bool = False) -> Leftovers:
        """What lies there that nobody needs; removed, if asked for and safe."""
        method = "DELETE" if repair else "GET"
        return self._ask(method, f"/hosts/{quote(host)}/leftovers", Leftovers)

    def networks(self) -> list[NetworkView]:
        """All networks."""
        return self._ask("GET", "/networks", list[NetworkView])

    def datastores(self) -> list[DatastoreView]:
        """All datastores."""
        return self._ask("GET", "/datastores", list[DatastoreView])

    def datastore(self, name: str) -> DatastoreView:
        """That datastore."""
        return self._ask("GET", f"/datastores/{quote(name)}", DatastoreView)

    def add_datastore(self, datastore: Datastore) -> DatastoreView:
        """VMs can have disks there."""
        return self._ask("POST", "/datastores", DatastoreView, body=datastore)

    def remove_datastore(self, name: str) -> None:
        """It is no longer known; its files stay."""
        self._send("DELETE", f"/datastores/{quote(name)}")

    def disks(self) -> list[DiskView]:
        """All disks of all VMs."""
        return self._ask("GET", "/disks", list[DiskView])

    def images(self) -> list[Image]:
        """All images."""
        return self._ask("GET", "/images", list[Image])

    def vms(self) -> list[VmView]:
        """All VMs."""
        return self._ask("GET", "/vms", list[VmView])

    def vm(self, name: str, *, destinations: bool = False) -> VmView:
        """That VM; with `destinations`, where it can go."""
        return self._ask("GET", f"/vms/{quote(name)}{'?destinations=true' if destinations else ''}", VmView)

    def change_vm(self, name: str, change: VmChange) -> VmView:
        """Its owner's rules are these."""
        return self._ask("PATCH", f"/vms/{quote(name)}", VmView, body=change)

    def check(self, vm: str, host: str) -> Checked:
        """What stands in the way of moving it there, and what may hurt."""
        from godwit.core.checked import Checked

        return self._ask("GET", f"/vms/{quote(vm)}/checks/{quote(host)}", Checked)

    def create_vm(self, request: VmRequest, *, key: str | None = None) -> VmView:
        """A new VM; it runs, unless `start` is false. Asked again with the same `key`, it is the same one for a day."""
        return self._ask("POST", "/vms", VmView, body=request, key=key, timeout_s=COPY_S)

    def start_vm(self, name: str) -> VmView:
        """It runs."""
        return self._ask("POST", f"/vms/{quote(name)}/start", VmView)

    def stop_vm(self, name: str, *, grace_s: float = 30.0) -> VmView:
        """It is off: by itself within the grace, else by force."""
        return self._ask("POST", f"/vms/{quote(name)}/stop?grace_s={grace_s}", VmView, timeout_s=ANSWER_S + grace_s)

    def delete_vm(self, name: str) -> None:
        """It is forgotten, and its disks are removed."""
        self._send("DELETE", f"/vms/{quote(name)}")

    def console(self, name: str) -> AbstractContextManager[Console]:
        """Its serial console, as long as the context holds."""
        return open_console(self._place, quote(name))

    def rehearse(self, vm: str, request: RehearsalRequest) -> Rehearsal:
        """What happened to a throw-away VM like that one, which was really moved and is gone."""
        from godwit.core.checked import Rehearsal

        return self._ask("POST", f"/vms/{quote(vm)}/rehearsals", Rehearsal, body=request)

    def migrations(self) -> list[Migration]:
        """All migrations, oldest first."""
        return self._ask("GET", "/migrations", list[Migration])

    def migration(self, id: str) -> Migration:
        """That migration."""
        return self._ask("GET", f"/migrations/{quote(id)}", Migration)

    def migrate(self, request: MigrationRequest, *, key: str | None = None) -> Migration:
        """A new migration, which goes on by itself; asked again with the same `key`, it is the same one for a day."""
        return self._ask("POST", "/migrations", Migration, body=request, key=key)

    def foresee(self, request: MigrationRequest) -> DryRun:
        """What that migration would take; nothing is touched."""
        from godwit.core.report import DryRun

        return self._ask("POST", "/migrations/forecast", DryRun, body=request)

    def cancel(self, id: str) -> Migration:
        """It is being undone; its events tell when that has ended. `Refused` once the vCPUs are being stopped."""
        return self._ask("DELETE", f"/migrations/{quote(id)}", Migration)

    def settle(self, id: str, request: SettleRequest) -> Migration:
        """It goes on from what a person said; `Refused` where its hosts know better."""
        return self._ask("POST", f"/migrations/{quote(id)}/settle", Migration, body=request)

    def report(self, id: str) -> Report:
        """What happened so far."""
        from godwit.core.report import Report

        return self._ask("GET", f"/migrations/{quote(id)}/report", Report)

    def audit(self, *, limit: int = 100) -> list[AuditEntry]:
        """The newest requests that changed something, oldest first."""
        return self._ask("GET", f"/audit?limit={limit}", list[AuditEntry])

    def events(self, id: str, *, after: int = 0) -> Iterator[Event]:
        """All events after number `after`, those to come included, until it has ended or is in doubt.

        A broken connection is taken up again where it broke; `Unreachable` when that fails for some seconds.
        """
        tries = 0
        while True:
            try:
                for event in self._stream(id, after):
                    tries, after = 0, event.sequence
                    yield event
                    if event.kind is EventKind.ended or event.phase is Phase.in_doubt:
                        return
                if self.migration(id).is_ended:
                    return
            except (Unreachable, httpx.TransportError) as error:
                if tries == RESUME_TRIES:
                    raise self._unreachable(error) from error
            tries += 1
            self._pause(RESUME_PAUSE_S)

    def _stream(self, id: str, after: int) -> Iterator[Event]:
        from httpx_sse import connect_sse

        headers = {"Last-Event-ID": str(after)}
        with connect_sse(self._http, "GET", f"/migrations/{quote(id)}/events", headers=headers) as source:
            if source.response.is_error:
                source.response.read()
                raise _error(source.response)
            for sent in source.iter_sse():
                if sent.data:  # none in the pings that keep an idle stream open
                    yield Event.model_validate_json(sent.data)

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: BaseModel | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> T:
        answer = self._send(method, path, body, key, timeout_s=timeout_s)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise Failed(
                f"the answer of the manager at {self._place} to {method} {path} cannot be understood: "
                "install the same version of godwit here and there",
                "answer",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        key: str | None = None,
        *,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        words: dict[str, Any] = {"timeout": timeout_s or self._answer_s}
        if body is not None:
            headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
            words |= {"content": body.model_dump_json(), "headers": headers}
        try:
            response = self._http.request(method, path, **words)
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"the manager at {self._place} broke off before it answered ({error or type(error).__name__}): look "
                "at what it did with `godwit vm list` and `godwit migration list`, then ask again"
            ) from error
        if response.is_error:
            raise _error(response)
        return response

    def _unreachable(self, error: Exception) -> Unreachable:
        return unreachable(self._place, str(error))


def _error(response: httpx.Response) -> GodwitError:
    """The error that the manager raised."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return Failed(f"the manager answered {response.status_code} with something that is no problem: is it godwit's?")
    return from_kind(problem.kind, problem.detail, problem.code)
