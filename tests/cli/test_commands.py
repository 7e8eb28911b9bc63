"""The commands against a manager that answers on a real socket, in this process."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.live import Live
from tests.manager.site import WEB

from godwit.client.client import Client
from godwit.contract.host import Order
from godwit.core.phase import Phase
from godwit.main.godwit import main

Godwit = Callable[..., str]

DROPPED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An interrupt may come while Python disposes of an object: it is dropped there, and comes again."""


@pytest.fixture
def godwit(live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Godwit:
    """Runs a command, checks its exit status and gives what it printed: its output, or else its error."""
    monkeypatch.setenv("GODWIT_MANAGER", str(live.socket))

    def call(*words: str, status: int = 0) -> str:
        got = main(words)
        out, err = capsys.readouterr()
        assert got == status, out + err
        return err if status and err else out

    return call


@pytest.fixture
def web(godwit: Godwit) -> None:
    godwit("vm", "create", "web-1", "--memory", "256MiB", "--network", "lan", "--host", "host-a")


def test_a_vm_through_its_life(godwit: Godwit) -> None:
    made = godwit("vm", "create", "web-1", "--memory", "256MiB", "--network", "lan", "--host", "host-a")
    assert made == "web-1 runs on host-a with 10.90.0.100\n"
    assert godwit("vm", "list").splitlines() == [
        "NAME   STATE    HOST    MEMORY   CPUS  IP",
        "web-1  running  host-a  256 MiB  1     10.90.0.100",
    ]
    assert "state:       running" in godwit("vm", "show", "web-1")
    assert godwit("vm", "stop", "web-1", "--grace", "0s") == "web-1 is stopped\n"
    assert godwit("vm", "start", "web-1") == "web-1 runs on host-a\n"
    godwit("vm", "stop", "web-1")
    assert godwit("vm", "delete", "web-1") == "web-1 is deleted\n"
    assert godwit("vm", "list") == "NAME  STATE  HOST  MEMORY  CPUS  IP\n"


def test_disks_are_made_shown_and_removed_with_their_vm(godwit: Godwit) -> None:
    godwit("vm", "create", "web-1", "--memory", "256MiB", "--disk", "data:64MiB", "--disk", "log:1GiB:default:qcow2")
    assert godwit("disk", "list").splitlines() == [
        "VM     NAME  SIZE      FORMAT  DATASTORE  PATH",
        "web-1  data  64 MiB    raw     default    /datastore/web-1/data.raw",
        "web-1  log   1024 MiB  qcow2   default    /datastore/web-1/log.qcow2",
    ]
    assert "disk 0:      data 64 MiB default /datastore/web-1/data.raw" in godwit("vm", "show", "web-1")
    assert "disks:          2" in godwit("datastore", "show", "default")
    godwit("vm", "stop", "web-1")
    assert godwit("vm", "delete", "web-1").splitlines() == [
        "web-1 is deleted",
        "disk data (64 MiB) is removed: /datastore/web-1/data.raw",
        "disk log (1024 MiB) is removed: /datastore/web-1/log.qcow2",
    ]


def test_a_datastore_comes_and_goes(godwit: Godwit) -> None:
    assert godwit("datastore", "add", "nfs", "--path", "/mnt/nfs", "--shared") == "nfs is seen by host-a, host-b\n"
    assert "nfs      directory  yes     1024 GiB  0      host-a,host-b  /mnt/nfs" in godwit("datastore", "list")
    assert "name 'N'" in godwit("datastore", "add", "N", "--path", "/mnt/nfs", status=2)
    assert godwit("datastore", "remove", "nfs") == "nfs is no longer a datastore\n"
    assert "there is no datastore 'nfs'" in godwit("datastore", "remove", "nfs", status=2)


def test_a_vm_from_a_file(godwit: Godwit, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("name: web-1\nmemory_mib: 256\nstart: false\ndisks: [{name: data, size_bytes: 1048576}]\n")
    assert godwit("vm", "create", "--file", str(file)) == "web-1 is made on host-b\n"
    assert "leave out cpus, name" in godwit("vm", "create", "x", "--file", str(file), "--cpus", "2", status=2)
    file.write_text("nmae: web-2\n")
    assert f"{file}:1: name is missing" in godwit("vm", "create", "--file", str(file), status=2)
    assert json.loads(godwit("vm", "schema"))["title"] == "VmRequest"


def test_a_disk_image_is_asked_for_by_its_path(godwit: Godwit, live: Live, tmp_path: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAA ada@home\n")
    words = ("--image", "/images/a.qcow2", "--disk-size", "2GiB", "--ssh-key", str(key), "--network", "lan")
    godwit("vm", "create", "web-1", *words)
    assert list(live.site.world.source.files) == ["/datastore/web-1/root.raw", "/datastore/web-1/cloud-init.raw"]


def test_json_is_what_the_api_answers(godwit: Godwit, live: Live) -> None:
    made = json.loads(godwit("vm", "create", "web-1", "--memory", "256MiB", "--network", "lan", "--json"))
    assert made["nics"][0]["ip"] == "10.90.0.100/24"
    there = {"vm": "web-1", "host": "host-a", "movable": True, "why_not": None}
    assert json.loads(godwit("vm", "show", "web-1", "--json")) == made | {"destinations": [there]}
    assert json.loads(godwit("vm", "list", "--json")) == [made]
    for noun, name in (("host", "host-a"), ("datastore", "default")):
        one = json.loads(godwit(noun, "show", name, "--json"))
        asked = {"arrivals": None} if noun == "host" else {}  # only one that is shown is asked what could come
        assert one | asked in json.loads(godwit(noun, "list", "--json"))
    assert [each["name"] for each in json.loads(godwit("network", "list", "--json"))] == ["dark", "lan"]
    assert [each["name"] for each in json.loads(godwit("image", "list", "--json"))] == ["base"]
    assert json.loads(godwit("disk", "list", "--json")) == []
    assert json.loads(godwit("migration", "list", "--json")) == []


@pytest.mark.usefixtures("web")
def test_what_is_said_of_a_vm_whose_host_does_not_answer_is_old(godwit: Godwit, live: Live) -> None:
    live.site.doors["host-a"].is_cut = True
    godwit("host", "list")
    assert godwit("vm", "list").splitlines()[1].split()[:3] == ["web-1", "running?", "host-a"]
    assert "running when host-a answered last; now it does not" in godwit("vm", "show", "web-1")
    assert json.loads(godwit("vm", "list", "--json"))[0]["host_answers"] is False


def test_what_there_is_for_people(godwit: Godwit, live: Live) -> None:
    live.site.doors["host-b"].is_cut = True
    assert [line.split()[:2] for line in godwit("host", "list").splitlines()] == [
        ["NAME", "STATE"],
        ["host-a", "reachable"],
        ["host-b", "unreachable"],
    ]
    assert "the line is cut" in godwit("host", "show", "host-b")
    assert "2048 MiB of 2048 MiB free" in godwit("host", "show", "host-a")
    assert "lan   10.90.0.100-10.90.0.102/24  host-a,host-b" in godwit("network", "list")
    assert "default  directory  yes" in godwit("datastore", "list")
    assert "shared:         yes" in godwit("datastore", "show", "default")
    assert "base" in godwit("image", "list")
    assert godwit("disk", "list").startswith("VM")


@pytest.mark.usefixtures("web")
def test_a_vm_is_moved_with_a_line_per_event_and_a_last_one(godwit: Godwit) -> None:
    lines = godwit("migrate", "web-1", "host-b").splitlines()
    words = [line.split()[3] for line in lines[:5]]
    assert words == ["checking", "expected:", "reserving", "preparing", "copying"]
    assert lines[-2].endswith("done")
    assert lines[-1].startswith("web-1 moved host-a -> host-b in ")
    assert lines[-1].endswith(" s, blackout 10 ms")
    assert "m1  web-1  host-a  host-b       done" in godwit("migration", "list")
    assert "max_blackout_ms: 300" in godwit("migration", "show", "m1")
    assert "blackout:    10 ms +/- 0.1 ms" in godwit("migration", "report", "m1")
    assert json.loads(godwit("migration", "report", "m1", "--json"))["outcome"] == "done"
    assert godwit("migration", "watch", "m1").splitlines() == lines


@pytest.mark.usefixtures("web")
def test_with_json_the_output_is_the_report_alone(godwit: Godwit) -> None:
    words = ("--max-blackout", "0.2s", "--deadline", "5min", "--bandwidth", "1gbit", "--json")
    report = json.loads(godwit("migrate", "web-1", "host-b", *words))
    assert (report["id"], report["outcome"], report["blackout_ms"]) == ("m1", "done", 10.0)
    asked = json.loads(godwit("migration", "show", "m1", "--json"))["request"]
    assert asked == {
        "vm": "web-1",
        "destination": "host-b",
        "max_blackout_ms": 200,
        "deadline_s": 300.0,
        "bandwidth_bytes_per_s": 125_000_000,
        "parallel": None,
        "compress": "auto",
        "plaintext": False,
        "post_copy": False,
        "notify_s": None,
        "force": False,
        "datastore": None,
        "disks": {},
        "format": None,
        "cold": False,
        "shut_down": False,
    }


@pytest.mark.usefixtures("web")
def test_several_vms_move_with_one_report_each(godwit: Godwit) -> None:
    godwit("vm", "create", "web-2", "--memory", "256MiB", "--host", "host-a")
    reports = json.loads(godwit("migrate", "web-1,web-2", "host-b", "--json"))
    assert [(each["vm"], each["outcome"]) for each in reports] == [("web-1", "done"), ("web-2", "done")]
    assert "names a VM twice" in godwit("migrate", "web-1,web-1", status=2)
    assert godwit("migrate", "web-1,web-2", "host-a", "--detach", "--parallel", "1") == "m3\nm4\n"
    godwit("migration", "watch", "m4")
    lines = godwit("migrate", "web-2,web-1", "host-b").splitlines()
    assert {line.split()[0] for line in lines[:-2]} == {"m5", "m6"}
    assert [line.split()[:5] for line in lines[-2:]] == [
        [name, "moved", "host-a", "->", "host-b"] for name in ("web-2", "web-1")
    ]
    assert "'many' is not how many may move at once" in godwit("migrate", "web-1", "--parallel", "many", status=2)


@pytest.mark.usefixtures("web")
def test_of_several_the_worst_end_is_the_status(godwit: Godwit, live: Live) -> None:
    """And it is not that of what was refused before anything was touched, if something was."""
    godwit("vm", "create", "rests", "--memory", "64MiB", "--host", "host-a")
    godwit("vm", "stop", "rests", "--grace", "0s")
    text = godwit("migrate", "web-1,rests", "host-b", status=1)
    assert "rests is stopped" in text.splitlines()[0]
    assert text.count("rests is stopped") == 1
    assert "1 of 2 VMs were not moved: rests; see above" in text
    assert live.site.world.runs_on == ["host-b"]


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("vms", ["web-1,nil", "nil,web-1"])
def test_of_several_that_are_named_all_must_be_there(godwit: Godwit, live: Live, vms: str) -> None:
    assert godwit("migrate", vms, "host-b", status=2) == "godwit: there is no VM 'nil': see `godwit vm list`\n"
    assert live.site.world.runs_on == ["host-a"]


@DROPPED
@pytest.mark.usefixtures("web")
def test_sigint_cancels_all_that_can_be(godwit: Godwit, live: Live) -> None:
    godwit("vm", "create", "web-2", "--memory", "256MiB", "--host", "host-a")
    thread = interrupt_when(live, "host-b", "prepare_incoming")
    text = godwit("migrate", "web-1,web-2", "host-b", "--parallel", "1", status=130)
    thread.join()
    assert "2 of 2 VMs were not moved" in text
    assert live.site.world.runs_on == ["host-a"]
    assert live.site.world.leftovers() == []
    with Client(live.socket) as client:
        assert Phase.checking not in [each.phase for each in client.events("m2")], "what waited was cancelled first"


@pytest.mark.usefixtures("web")
def test_a_host_is_drained_and_taken_back(godwit: Godwit, live: Live) -> None:
    godwit("vm", "create", "rests", "--memory", "64MiB", "--host", "host-a")
    godwit("vm", "stop", "rests", "--grace", "0s")
    assert "say --yes to drain host-a" in godwit("host", "drain", "host-a", status=2)
    assert "draining" not in godwit("host", "list")
    lines = godwit("host", "drain", "host-a", "--yes").splitlines()
    assert [line.split()[:5] for line in lines[:3]] == [
        ["VM", "STATE", "MEMORY", "GOES", "TO"],
        ["rests", "stopped", "64", "MiB", "-"],
        ["web-1", "running", "256", "MiB", "host-b"],
    ]
    assert [line.split()[:3] for line in lines[-4:-1]] == [
        ["VM", "VERDICT", "HOST"],
        ["rests", "stays", "-"],
        ["web-1", "moved", "host-b"],
    ]
    assert lines[-1] == "left on host-a: rests; it takes no VMs until `godwit host activate host-a`"
    assert "host-a  draining" in godwit("host", "list")
    assert "host-a is being drained" in godwit("migrate", "web-1", "host-a", status=2)
    assert godwit("host", "activate", "host-a") == "host-a takes VMs again\n"
    assert json.loads(godwit("host", "show", "host-a", "--json"))["draining"] is False
    godwit("vm", "delete", "rests")
    godwit("migrate", "web-1", "host-a")
    (report,) = json.loads(godwit("host", "drain", "host-a", "--yes", "--json"))
    assert (report["vm"], report["outcome"]) == ("web-1", "done")
    assert godwit("host", "drain", "host-a", "--yes").splitlines() == [
        "host-a has no VMs",
        "host-a is empty, and takes no VMs until `godwit host activate host-a`",
    ]


@pytest.mark.usefixtures("web")
def test_what_cannot_leave_a_drained_host_is_told(godwit: Godwit, live: Live) -> None:
    live.site.doors["host-b"].is_cut = True
    text = godwit("host", "drain", "host-a", "--yes", status=1)
    assert text == "godwit: no other host is there to take it\n"


@pytest.mark.usefixtures("web")
def test_detached_it_prints_the_name(godwit: Godwit) -> None:
    assert godwit("migrate", "web-1", "--detach") == "m1\n"
    assert godwit("migration", "watch", "m1").splitlines()[-1].startswith("web-1 moved host-a -> host-b")
    assert json.loads(godwit("migrate", "web-1", "--detach", "--json"))["id"] == "m2"


@pytest.mark.usefixtures("web")
def test_a_cancelled_migration(godwit: Godwit, live: Live) -> None:
    live.hold("host-b", "prepare_incoming")
    godwit("migrate", "web-1", "host-b", "--detach")
    assert godwit("migration", "cancel", "m1") == "m1 is cancelled: web-1 runs on host-a\n"
    assert "has ended already: it is cancelled" in godwit("migration", "cancel", "m1", status=2)
    assert "web-1 was not moved to host-b: cancelled" in godwit("migration", "watch", "m1", status=130)


def interrupt_when(live: Live, host: str, verb: str, *, then: Callable[[], None] = lambda: None) -> threading.Thread:
    """This process gets SIGINT, as by `kill -INT`, when the manager waits in that verb."""
    live.hold(host, verb)

    def wait() -> None:
        live.wait_for(host, verb)
        os.kill(os.getpid(), signal.SIGINT)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@DROPPED
@pytest.mark.usefixtures("web")
def test_sigint_before_stop_cancels(godwit: Godwit, live: Live) -> None:
    thread = interrupt_when(live, "host-b", "prepare_incoming")
    assert "web-1 was not moved to host-b: cancelled" in godwit("migrate", "web-1", "host-b", status=130)
    thread.join()
    assert live.site.world.runs_on == ["host-a"]
    assert live.site.world.leftovers() == []


@DROPPED
@pytest.mark.usefixtures("web")
def test_sigint_after_stop_detaches(
    godwit: Godwit, live: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = interrupt_when(live, "host-a", "hand_over")
    assert main(["migrate", "web-1", "host-b"]) == 0
    thread.join()
    told = capsys.readouterr().err
    assert "migration m1 is handing-over and must go on" in told
    assert "migration m1 goes on: see `godwit migration watch m1`" in told
    live.let("host-a", "hand_over")
    assert godwit("migration", "watch", "m1").splitlines()[-1].startswith("web-1 moved")


@pytest.mark.usefixtures("web")
def test_a_failed_migration_exits_with_1(godwit: Godwit, live: Live) -> None:
    live.hold("host-b", "prepare_incoming")
    godwit("migrate", "web-1", "host-b", "--detach")
    live.wait_for("host-b", "prepare_incoming")
    live.crash("host-a", "web-1")
    live.let("host-b", "prepare_incoming")
    text = godwit("migration", "watch", "m1", status=1)
    assert text == "godwit: web-1 was not moved to host-b: no QEMU of web-1 is on host-a\n"
    assert live.site.world.leftovers() == []
    assert "crashed" in godwit("vm", "list")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ("vm show nil", 2, "godwit: there is no VM 'nil': see `godwit vm list`"),
        ("vm create UP", 2, "godwit: name 'UP': write 1 to 40 of a-z"),
        ("vm create a --memory lots", 2, "godwit: 'lots' is not an amount of memory: write it like 512MiB"),
        ("vm create a --memory 1MiB", 2, "godwit: --memory 1MiB: write at least 64MiB"),
        ("vm create a --gateway there", 2, "godwit: --gateway 'there': write an IP address, such as 10.90.0.1"),
        ("vm create a --network LAN", 2, "godwit: --network 'LAN': write 1 to 40 of a-z"),
        ("vm create a --disk D:1GiB", 2, "godwit: --disk 'D': write 1 to 40 of a-z"),
        ("vm create a --user Ada", 2, "godwit: --user 'Ada': write 1 to 32 of a-z"),
        ("vm create a --ssh-key /nowhere", 2, "No such file or directory; name another with --ssh-key"),
        ("vm create --file /nowhere", 2, "No such file or directory; name another with --file"),
        ("migrate a --notify 1h", 2, "godwit: --notify 3600s: write at most 600s"),
        ("migrate a --max-blackout 1h", 2, "godwit: --max-blackout 3600000ms: write at most 2000000ms"),
        ("migrate a, host-b", 2, "godwit: 'a,' leaves a name empty: write VM, or several with commas"),
        ("migrate a --datastore =b", 2, "godwit: --datastore '=b' leaves a name empty: write DATASTORE, or DISK=DAT"),
        ("vm create a --ip 10.0.0.1/24", 2, "godwit: --ip needs a network card"),
        ("vm create a --network wan", 2, "godwit: there is no network 'wan': the manager knows dark, lan"),
        ("vm stop web-1 --grace soon", 2, "godwit: 'soon' is not a time"),
        ("vm console nil", 2, "godwit: there is no VM 'nil'"),
        ("migrate nil host-b", 2, "godwit: there is no VM 'nil'"),
        ("migrate web-1 host-b --max-blackout 3", 2, "godwit: '3' has no unit"),
        ("migration show nil", 2, "godwit: there is no migration 'nil'"),
        ("migration watch nil", 2, "godwit: there is no migration 'nil'"),
        ("vm shwo", 2, "godwit: vm: no such command 'shwo'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(godwit: Godwit, words: str, status: int, sentence: str) -> None:
    text = godwit(*words.split(), status=status)
    assert sentence in text
    assert "Traceback" not in text


def test_the_manager_is_named_before_or_after_the_command(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODWIT_MANAGER", str(tmp_path / "none"))
    assert main(["vm", "list", "--manager", str(live.socket)]) == 0
    assert main(["--manager", str(live.socket), "vm", "list"]) == 0
    assert capsys.readouterr().out.count("NAME") == 2


def test_the_request_of_the_tests_is_what_the_command_makes(godwit: Godwit, live: Live) -> None:
    godwit("vm", "create", "web-1", "--memory", "256MiB", "--network", "lan", "--host", "host-a")
    assert live.site.world.source.vms["web-1"].request.spec.memory_mib == WEB.memory_mib


@pytest.mark.usefixtures("web")
def test_a_move_under_way_has_no_report(godwit: Godwit, live: Live) -> None:
    live.hold("host-b", "prepare_incoming")
    godwit("migrate", "web-1", "host-b", "--detach")
    for more in ((), ("--json",)):
        said = godwit("migration", "report", "m1", *more, status=2)
        assert said.endswith("and has no report yet: see `godwit migration watch m1`\n")
    godwit("migration", "cancel", "m1")


@pytest.mark.usefixtures("web")
def test_a_report_as_a_page(godwit: Godwit, tmp_path: Path) -> None:
    godwit("migrate", "web-1", "host-b")
    page_file = tmp_path / "m1.html"
    assert godwit("migration", "report", "m1", "--html", str(page_file)) == f"the report of m1 is in {page_file}\n"
    page = (tmp_path / "m1.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "web-1" in page
    text = godwit("migration", "report", "m1", "--html", str(tmp_path / "none" / "m1.html"), status=2)
    assert "m1.html cannot be written: No such file or directory; name another file with --html" in text


@pytest.mark.usefixtures("web")
def test_a_check_says_what_it_found_and_its_status_says_whether(godwit: Godwit) -> None:
    forecast, verdict = godwit("check", "web-1", "host-b").splitlines()
    assert forecast.startswith("forecast: ")
    assert verdict == "web-1 can be moved from host-a to host-b: nothing stands in the way"
    assert godwit("vm", "set", "web-1", "--rule", "never-migrate") == "web-1 has never-migrate\n"
    said = godwit("check", "web-1", "host-b", status=2)
    assert "blocker  never-migrate: the owner of web-1 does not let it move" in said
    assert "seen: rule never-migrate" in said
    checked = json.loads(godwit("check", "web-1", "host-b", "--json", status=2))
    assert (checked["movable"], checked["findings"][0]["code"]) == (False, "never-migrate")
    assert "to host-b:" in godwit("vm", "show", "web-1")
    assert "no: the owner of web-1 does not let it move" in godwit("host", "show", "host-b")
    assert godwit("vm", "set", "web-1", "--no-rule", "never-migrate") == "web-1 has no rules\n"
    assert "could come" in godwit("host", "show", "host-b")


@pytest.mark.usefixtures("web")
def test_rehearsals_are_told_one_by_one_or_as_a_matrix(godwit: Godwit, tmp_path: Path) -> None:
    said = godwit("rehearse", "web-1", "host-b")
    moved = (
        "a VM like web-1 moved from host-a to host-b with a blackout of 10 ms, and the network learned its new place\n"
    )
    assert said.endswith(moved)
    assert "forecast of web-1: " in said
    page = tmp_path / "page.html"
    assert godwit("rehearse", "web-1", "--all-hosts", "--html", str(page)).splitlines() == [
        "FROM    TO host-a  TO host-b",
        "host-a  -          10 ms",
        "host-b  10 ms      -",
    ]
    assert "2 of 2 ways passed" in page.read_text()
    assert json.loads(godwit("rehearse", "web-1", "host-b", "--json"))["passed"]
    assert "say where to" in godwit("rehearse", "web-1", status=2)
    assert "there is no directory" in godwit("rehearse", "web-1", "host-b", "--html", "/none/m.html", status=2)
    assert [vm["name"] for vm in json.loads(godwit("vm", "list", "--json"))] == ["web-1"]


@pytest.mark.usefixtures("web")
def test_leftovers_are_found_and_removed(godwit: Godwit, live: Live) -> None:
    assert godwit("doctor") == (
        "nothing is left over on host-a, host-b\n"
        "nothing is wrong with the networks, links, clocks and load of host-a, host-b\n"
    )
    live.site.world.destination.moving["web-9"] = Order(migration="m9", attempt=1, epoch=1, vm="web-9")
    told = godwit("doctor", "--host", "host-b", status=1)
    assert "memory for web-9" in told
    assert "godwit doctor --repair" in told
    (left,) = json.loads(godwit("doctor", "--host", "host-b", "--repair", "--json"))["host-b"]["leftovers"]
    assert left["removed"]
    assert godwit("doctor", "--host", "host-b", "--repair") == "nothing is left over on host-b\n"
