"""What scenarios of the network share: clients in the client node, and a look into the LAN switch."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from godwit.core.report import Report
from godwit.lab import open_vswitch
from godwit.lab.scenario import Running, Scenario, wait_until

needs_open_vswitch = pytest.mark.skipif(
    any(shutil.which(each, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for each in open_vswitch.PROGRAMS),
    reason=f"{open_vswitch.PACKAGE} is not installed: tools/setup ovs",
)
"""A test needs it."""


def other(host: str) -> str:
    return {"host-a": "host-b", "host-b": "host-a"}[host]


def address(lab: Scenario, vm: str = "web", nic: int = 0) -> str:
    ip = lab.client.vm(vm).nics[nic].ip
    assert ip is not None
    return str(ip.ip)


def in_client(lab: Scenario, program: str, *words: str) -> Running:
    return Running([*lab.look().node("client").enter, sys.executable, "-m", f"godwit.lab.{program}", *words])


def in_node(lab: Scenario, node: str, words: str, text: str = "") -> str:
    argv = [*lab.look().node(node).enter, *words.split()]
    return subprocess.run(argv, check=True, capture_output=True, text=True, input=text).stdout


def dropped_by_open_vswitch(lab: Scenario, *hosts: str) -> int:
    """Frames that waited in vain for the daemon of those hosts to get a CPU: what its sockets had no room for."""
    told = [in_node(lab, host, "ss -0 -m -p") for host in hosts]
    return sum(int(count) for text in told for count in re.findall(r"ovs-vswitchd.*skmem:\(.*,d(\d+)\)", text))


def settled(lab: Scenario, id: str) -> Report:
    """The migration's report, once its relay is gone."""
    wait_until(f"{id} is settled", lambda: lab.client.migration(id).settled)
    return lab.client.report(id)


class Idle:
    """A connection to the guest's echo service, from the client node, that says nothing until it is asked to."""

    PROGRAM = (
        "import socket,sys\ns=socket.create_connection(sys.argv[1:3])\ns.sendall(b'first')\ns.recv(5,256)\n"
        "print('open',flush=True)\nsys.stdin.readline()\ns.settimeout(20)\ns.sendall(b'again')\nprint(s.recv(5,256))"
    )

    def __init__(self, lab: Scenario) -> None:
        words = [*lab.look().node("client").enter, sys.executable, "-c", self.PROGRAM, address(lab), "7"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"

    def wake(self) -> str:
        """What the guest answers."""
        return self._process.communicate("\n", timeout=60)[0].strip()

    def close(self) -> None:
        """It is gone. Harmless when repeated."""
        self._process.kill()
        self._process.communicate()
