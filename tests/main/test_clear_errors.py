"""What a person meets who sets something up wrongly: one sentence that says what, where, and what to do next."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.main.test_manager import configure, running

from godwit.client.client import Client
from godwit.contract.host import Host
from godwit.core.config import Tls
from godwit.core.resources import Problem
from godwit.rpc import pki, serve
from godwit.testing.world import World

GODWIT = [sys.executable, "-m", "godwit.main.godwit"]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        yield Path(name)


def godwit(*words: str, **environment: str) -> tuple[int, str]:
    """The exit status of the command, and what it said on standard error."""
    done = subprocess.run(
        [*GODWIT, *words], capture_output=True, text=True, timeout=200, env=os.environ | environment, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stderr


def said(text: str) -> str:
    """The sentence, without what the log has before it."""
    return text.splitlines()[-1].removeprefix("godwit: ")


def agent(directory: Path, **changes: str) -> Path:
    """Its configuration, right but for the changes."""
    if not (directory / "ca.pem").exists():
        pki.init(directory)
    tls = pki.issue(directory, "agent", name="host-a")
    words = {
        "host": '"host-a"',
        "listen": '["127.0.0.1:0"]',
        "migration_address": '"127.0.0.1"',
        "state_dir": f'"{directory}/state"',
        "run_dir": f'"{directory}/run"',
        "cache_dir": f'"{directory}/cache"',
        "accelerator": '"tcg"',
    } | changes
    file = directory / "agent.toml"
    file.write_text(
        "".join(f"{key} = {value}\n" for key, value in words.items())
        + f'[tls]\nca = "{tls.ca}"\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
    )
    return file


@contextmanager
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_no_qemu(directory: Path) -> None:
    status, text = godwit("agent", "--config", str(agent(directory, qemu='"qemu-system-none"')))
    assert (status, said(text)) == (
        1,
        "qemu-system-none is not on host-a: install QEMU 7.2 or newer (`apt install qemu-system-x86`), or name it with "
        "qemu in the agent's configuration",
    )


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("QEMU emulator version 5.2.0 (Debian)", "is QEMU 5.2: godwit needs 7.2 or newer; install a newer one"),
        ("I am a teapot", "does not say its version: it is no QEMU; set `qemu` in the agent's configuration"),
    ],
)
def test_a_qemu_that_will_not_do(directory: Path, says: str, sentence: str) -> None:
    program = directory / "qemu"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    status, text = godwit("agent", "--config", str(agent(directory, qemu=f'"{program}"')))
    assert (status, said(text)) == (1, f"{program} {sentence}")


def test_the_agents_port_is_taken(directory: Path) -> None:
    with taken() as port:
        status, text = godwit("agent", "--config", str(agent(directory, listen=f'["127.0.0.1:{port}"]')))
    assert status == 1
    assert said(text).startswith(f"cannot listen on 127.0.0.1:{port}: [Errno 98] Address already in use; `ss -ltnp")


def test_the_port_of_its_metrics_is_taken(directory: Path) -> None:
    with taken() as port:
        status, text = godwit("agent", "--config", str(agent(directory, metrics=f'"127.0.0.1:{port}"')))
    assert status == 2
    assert said(text).startswith(f"cannot show metrics at 127.0.0.1:{port} (")
    assert "ss -ltnp" in said(text)


def test_a_directory_that_cannot_be(directory: Path) -> None:
    (directory / "file").write_text("")
    status, text = godwit("agent", "--config", str(agent(directory, state_dir=f'"{directory}/file/state"')))
    sentence = f"{directory}/file/state cannot be made: Not a directory; name another place with state_dir in"
    assert (status, said(text).startswith(sentence)) == (2, True)


def add_listen(file: Path, address: str, directory: Path, key: str = "manager-key.pem") -> Path:
    file.write_text(
        file.read_text() + f'[listen]\naddress = "{address}"\n'
        f'certificate = "{directory}/manager.pem"\nkey = "{directory}/{key}"\n'
    )
    return file


def test_the_managers_port_is_taken(directory: Path) -> None:
    with taken() as port:
        file = add_listen(configure(directory), f"127.0.0.1:{port}", directory)
        status, text = godwit("manager", "--config", str(file))
    assert (status, said(text)) == (
        2,
        f"cannot listen on 127.0.0.1:{port} (Address already in use): `ss -ltnp sport = :{port}` names who has the "
        "port and `ip address` this host's addresses; change address under [listen]",
    )


def test_the_managers_certificate_is_none(directory: Path) -> None:
    file = add_listen(configure(directory), "127.0.0.1:0", directory, key="ca.pem")
    status, text = godwit("manager", "--config", str(file))
    assert status == 2
    assert f"{directory}/manager.pem and {directory}/ca.pem are no certificate and its key" in said(text)


def test_an_agent_of_another_wire_version(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the host's page, and by every order that needs the host."""
    pki.init(directory)
    tls = pki.issue(directory, "agent", name="host-a", addresses=["127.0.0.1"])
    monkeypatch.setattr(serve, "WIRE_VERSION", 999)

    async def story() -> tuple[str, tuple[int, str]]:
        services: serve.Services = {Host: (World().source, frozenset({"manager"}))}
        async with serve.serve(services, listen=["127.0.0.1:0"], tls=tls) as listening:
            return await asyncio.to_thread(_asked_about_it, directory, listening.ports[0])

    reason, (status, text) = asyncio.run(story())
    sentence = "host-a speaks version 999 of godwit's wire and its caller version"
    assert sentence in reason
    assert reason.endswith("install the same godwit on both")
    assert (status, sentence in said(text)) == (2, True), text


def _asked_about_it(directory: Path, port: int) -> tuple[str, tuple[int, str]]:
    file = directory / "manager.toml"
    tls = pki.issue(directory, "manager")
    file.write_text(_manager(directory, tls, port))
    with running(file), Client(directory / "m.sock") as client:
        while not (reason := client.host("host-a").reason) or "not asked" in reason:
            pass
        words = ("vm", "create", "a", "--image", "base", "--host", "host-a", "--manager", f"{directory}/m.sock")
        return reason, godwit(*words)


def _manager(directory: Path, tls: Tls, port: int) -> str:
    (directory / "image.json").write_text('{"kernel": "k", "initrd": "i", "cmdline": ""}')
    return (
        f'socket = "{directory}/m.sock"\nstore = "{directory}/m.sqlite"\n'
        f'[tls]\nca = "{tls.ca}"\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
        f'[hosts.host-a]\naddress = "127.0.0.1:{port}"\n[images.base]\npath = "{directory}"\n'
    )


@pytest.mark.root
def test_the_stores_disk_is_full(directory: Path) -> None:
    """The manager says so, changes nothing, and goes on when there is room again."""
    file = configure(directory)
    small = directory / "small"
    small.mkdir()
    file.write_text(file.read_text().replace(f"{directory}/manager.sqlite", f"{small}/manager.sqlite"))
    mount = f'mount -t tmpfs -o size=400k tmpfs {small} && exec "$@"'
    with _started(["unshare", "--mount", "sh", "-c", mount, "sh", *GODWIT, "manager", "--config", str(file)]) as pid:
        filler = Path(f"/proc/{pid}/root{small}/filler")
        transport = httpx.HTTPTransport(uds=f"{directory}/manager.sock")
        with httpx.Client(transport=transport, base_url="http://manager") as client:
            fill(filler)
            request = {"json": {"name": "a"}, "headers": {"Idempotency-Key": "one"}}
            answer = client.post("/vms", **request)  # type: ignore[arg-type]
            problem = Problem.model_validate_json(answer.content)
            assert (answer.status_code, problem.code) == (500, "store")
            assert problem.detail == "the manager's store cannot be used (database or disk is full): look at its disk"
            assert client.get("/vms").json() == []
            filler.unlink()
            assert client.post("/vms", **request).status_code == 404  # type: ignore[arg-type]  # no such image


def fill(file: Path) -> None:
    """Its disk has room for nothing more."""
    with file.open("wb", buffering=0) as full, suppress(OSError):
        while True:
            full.write(b"x" * 512)


@contextmanager
def _started(argv: Sequence[str]) -> Iterator[int]:
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        assert "the manager answers at" in process.stderr.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()
