"""Whether the lab's agents and manager answer, asked as any user would: through the manager's API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from godwit.core.errors import Failed, TimedOut
from godwit.core.resources import HostState
from godwit.lab import control, storage_node
from godwit.lab.control import Answer, Order, Verb
from godwit.lab.places import Lab
from godwit.lab.settings import Settings
from godwit.lab.topology import Topology

_ANSWER_S = 60.0
SAN = "san"
_PAUSE_S = 0.1
_MOST_STARTS = 5
"""A daemon that was started this often while we waited will not come up."""


def wait_answering(lab: Lab, settings: Settings) -> None:
    """The manager reaches every host; `Failed` names the first that it does not, what it said last, and its log."""
    _wait_answering(lab, settings.host_names)


def wait_answering_again(lab: Lab, settings: Settings, node: str, seen: Answer) -> None:
    """That node's daemon, just started, answers, if there is somebody who may ask it; else as `wait_answering`."""
    manager = seen.daemons.get("manager")
    if manager and manager.wanted and f"control-link-down:{node}" not in seen.faults:
        _wait_answering(lab, [name for name in settings.host_names if name == node])


def _wait_answering(lab: Lab, names: Sequence[str]) -> None:
    deadline = time.monotonic() + _ANSWER_S
    earlier = _starts(lab)
    while silent := _first_silent(lab, names):
        node, reason = silent
        if _starts(lab).get(node, 0) - earlier.get(node, 0) >= _MOST_STARTS:
            raise Failed(
                f"{node} of lab {lab.name} does not stay up: {last_line(lab.log_of(node))}; {_next(lab, node)}"
            )
        if time.monotonic() > deadline:
            raise TimedOut(f"{node} of lab {lab.name} does not answer: {reason}; {_next(lab, node)}")
        time.sleep(_PAUSE_S)


def add_storage(lab: Lab, settings: Settings) -> None:
    """The storage node's target is a datastore that hosts see; `Failed` says why not."""
    storage = Topology(settings).storage
    assert storage is not None
    deadline = time.monotonic() + _ANSWER_S
    while not (lab.data_dir / storage.name / storage_node.READY).exists():
        if time.monotonic() > deadline:
            raise TimedOut(f"{storage.name} of lab {lab.name} does not answer; {_next(lab, storage.name)}")
        time.sleep(_PAUSE_S)
    wanted = {"name": SAN, "kind": "iscsi", "path": storage_node.url(storage)}
    with _manager(lab) as client:
        answer = client.post("/datastores", json=wanted, timeout=_ANSWER_S)
    if answer.is_error:
        raise Failed(f"the target of lab {lab.name} is no datastore: {answer.text}; {_next(lab, storage.name)}")


def last_line(log: Path) -> str:
    """The last thing that was printed there."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")


def _starts(lab: Lab) -> dict[str, int]:
    """How often each daemon was started since the lab is up."""
    daemons = control.ask(lab, Order(verb=Verb.status)).daemons
    return {node: daemon.starts for node, daemon in daemons.items()}


def _next(lab: Lab, node: str) -> str:
    return f"read {lab.log_of(node)}, then godwit lab down"


def _first_silent(lab: Lab, names: Sequence[str]) -> tuple[str, str] | None:
    try:
        hosts = {host.name: host for host in _hosts(lab)}
    except (httpx.HTTPError, ValueError) as error:
        return "manager", str(error)
    for name in names:
        if name not in hosts:
            return name, "the manager does not know it"
        if not hosts[name].reachable:
            return name, hosts[name].reason or "the manager gives no reason"
    return None


def _hosts(lab: Lab) -> list[HostState]:
    with _manager(lab) as client:
        answer = client.get("/hosts", timeout=5)
        answer.raise_for_status()
        return [HostState.model_validate(each) for each in answer.json()]


def _manager(lab: Lab) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(lab.manager_socket)), base_url="http://manager")
