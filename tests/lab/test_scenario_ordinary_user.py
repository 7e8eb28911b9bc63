"""Somebody who is not root has a lab, a VM and a migration, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import godwit
from godwit.lab.scenario import Running, Scenario

pytestmark = pytest.mark.lab

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
SYSTEM_PYTHON = "/usr/bin/python3"


def a_python(directory: Path) -> Path:
    """A Python of the system's that an ordinary user can run, and that can import what this one can."""
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    paths = (Path(godwit.__file__).parents[1], sysconfig.get_paths()["purelib"])
    packages = next((directory / "venv" / "lib").glob("python3*")) / "site-packages"
    (packages / "all.pth").write_text("".join(f"{path}\n" for path in paths))
    shutil.copy(Path(sysconfig.get_paths()["scripts"]) / "godwit", directory / "venv" / "bin" / "godwit")
    program = directory / "venv" / "bin" / "godwit"
    program.write_text(f"#!{directory}/venv/bin/python\nfrom godwit.main.godwit import run\nrun()\n")
    return program


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Scenario]:
    if os.geteuid() != 0:
        pytest.skip("the other scenarios run as an ordinary user already")
    if not os.access("/dev/net/tun", os.R_OK) or os.stat("/dev/net/tun").st_mode & 0o006 != 0o006:
        pytest.skip("/dev/net/tun is not open to all, as udev's default would have it: chmod 666 /dev/net/tun")
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        directory = Path(name)
        program = a_python(directory)
        for path in (directory, *(directory / each for each in ("r", "s", "home", "cache"))):
            path.mkdir(exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
        words = (*AS_NOBODY, str(program))
        env = {"HOME": str(directory / "home"), "XDG_CACHE_HOME": str(directory / "cache")}
        tried = subprocess.run(["env", *(f"{k}={v}" for k, v in env.items()), *words, "--version"], capture_output=True)
        if tried.returncode != 0:
            pytest.skip(f"uid {NOBODY} cannot run Python from here: {tried.stderr.decode().strip()[-200:]}")
        with Scenario(directory, godwit=words, env=env) as scenario:
            yield scenario


def test_a_migration_under_traffic(ordinary: Scenario) -> None:
    ip = ordinary.create_vm("web", "host-a").nics[0].ip
    assert ip is not None
    with ordinary.traffic("web", kinds=("redis", "echo")) as traffic:
        words = ["-m", "godwit.lab.udp_probe", str(ip.ip), "--rate", "1000", "--seconds", "6"]
        probe = Running([*ordinary.look().node("client").enter, sys.executable, *words])
        report = ordinary.migrate("web", "host-b")
        counted = json.loads(probe.end().out)
        clients = traffic.stop().clients

    assert report.outcome == "done"
    assert (counted["lost"], counted["duplicates"] <= 2) == (0, True)
    assert ordinary.where_it_runs("web") == ("host-b",)
    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    qemu = ordinary.qemu_pid("web", "host-b")
    assert f"Uid:\t{NOBODY}" in Path(f"/proc/{qemu}/status").read_text()
