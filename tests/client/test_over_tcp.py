"""The client over TCP: certificates, tokens, roles, streams, and what is said when one of them is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.client.live import Live
from tests.client.sites import living_over_tcp, remote
from tests.manager.site import MOVE, WEB

from godwit.client.client import Client
from godwit.client.place import Remote
from godwit.core.config import Role
from godwit.core.errors import Invalid, Refused, Unreachable
from godwit.core.migration import Event
from godwit.core.phase import Phase
from godwit.rpc import pki

Act = Callable[[Client], object]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
"""A connection that failed httpx leaves to the garbage collector, which closes it at once."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with living_over_tcp(tmp_path) as live:
        yield live


def test_all_of_a_migration_goes_over_tcp_too(live: Live, tmp_path: Path) -> None:
    with Client(remote(live, tmp_path)) as client:
        client.create_vm(WEB)
        id = client.migrate(MOVE).id
        assert list(client.events(id))[-1].phase is Phase.done
        with client.console("web-1") as console:
            console.write(b"ping")
            assert next(console.output()) == b"ping"


def test_events_are_taken_up_again_where_the_connection_broke(live: Live, tmp_path: Path) -> None:
    with Client(remote(live, tmp_path), pause=lambda s: None) as client:
        client.create_vm(WEB)
        live.hold("host-a", "hand_over")
        id = client.migrate(MOVE).id
        live.wait_for("host-a", "hand_over")
        seen: list[Event] = []
        for event in client.events(id):
            seen.append(event)
            if event.phase is Phase.handing_over:
                live.break_connections()
                live.let("host-a", "hand_over")
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].phase is Phase.done


@pytest.mark.parametrize(
    ("role", "may", "act"),
    [
        (Role.read, True, lambda client: client.vms()),
        (Role.read, False, lambda client: client.stop_vm("web-1")),
        (Role.read, False, lambda client: client.migrate(MOVE)),
        (Role.read, False, lambda client: client.audit()),
        (Role.operate, True, lambda client: client.stop_vm("web-1")),
        (Role.operate, True, lambda client: client.cancel(client.migrate(MOVE).id)),
        (Role.operate, False, lambda client: client.delete_vm("web-1")),
        (Role.operate, False, lambda client: client.create_vm(WEB)),
        (Role.admin, True, lambda client: client.audit()),
    ],
)
def test_each_role_may_what_it_may(role: Role, may: bool, act: Act, live: Live, tmp_path: Path) -> None:
    with Client(live.socket) as owner:
        owner.create_vm(WEB)
    live.hold("host-b", "prepare_incoming")  # or a move is over before it can be cancelled
    with Client(remote(live, tmp_path, role)) as client:
        if may:
            act(client)
        else:
            with pytest.raises(Refused, match=rf"{role}-er may {role}, and .* needs (operate|admin)") as caught:
                act(client)
            assert caught.value.code == "role"


def test_a_console_needs_operate(live: Live, tmp_path: Path) -> None:
    with Client(live.socket) as owner:
        owner.create_vm(WEB)
    with (
        Client(remote(live, tmp_path, Role.read)) as client,
        pytest.raises(Refused, match=r"needs operate"),
        client.console("web-1"),
    ):
        pass


def test_who_did_what_is_written_down(live: Live, tmp_path: Path) -> None:
    with Client(live.socket) as owner:
        owner.create_vm(WEB)
    with Client(remote(live, tmp_path, Role.operate)) as client:
        client.migrate(MOVE)
        with pytest.raises(Refused):
            client.delete_vm("web-1")
    with Client(remote(live, tmp_path, token="gw_wrong")) as client, pytest.raises(Refused):
        client.delete_vm("web-1")
    with Client(remote(live, tmp_path)) as client:
        told = [(e.caller, e.role, e.method, e.path, e.status, e.code, e.about) for e in client.audit()]
        assert client.audit()[1].request["destination"] == "host-b"
        assert [each.path for each in client.audit(limit=1)] == ["/vms/web-1"]
    assert told == [
        (f"uid {os.getuid()}", "admin", "POST", "/vms", 201, None, "web-1"),
        ("operate-er", "operate", "POST", "/migrations", 201, None, "m1"),
        ("operate-er", "operate", "DELETE", "/vms/web-1", 403, "role", None),
        ("unknown", None, "DELETE", "/vms/web-1", 401, "unknown-token", None),
    ]
    assert live.socket.with_name("audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_is_wrong_with_the_connection_is_said(live: Live, tmp_path: Path) -> None:
    good = remote(live, tmp_path)
    pki.init(tmp_path / "other")
    (tmp_path / "junk.pem").write_text("junk")
    for place, kind, sentence in (
        (Remote(good.url, "gw_unknown", good.ca), Refused, "the manager does not know this token: print a new one"),
        (
            Remote(good.url, good.token, tmp_path / "other" / "ca.pem"),
            Unreachable,
            "a certificate that is not believed",
        ),
        (Remote(f"https://localhost:{live.port}", good.token, good.ca), Unreachable, "a certificate that is not bel"),
        (Remote("https://127.0.0.1:1", good.token, good.ca), Unreachable, "no manager answers at https://127.0.0.1:1"),
    ):
        with Client(place) as client, pytest.raises(kind, match=sentence):
            client.vms()
    for ca in (tmp_path / "junk.pem", tmp_path / "none.pem"):
        with pytest.raises(Invalid, match=r"the authority's certificate .* cannot be used"):
            Client(Remote(good.url, good.token, ca))
