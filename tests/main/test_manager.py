"""`godwit manager` as a program: answers, ends at SIGTERM, and starts again on what it left."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.client.client import Client
from godwit.rpc import pki


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: a socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        yield Path(name)


def configure(directory: Path, name: str = "manager") -> Path:
    pki.init(directory)
    tls = pki.issue(directory, "manager", name="manager", addresses=(), out=None)
    file = directory / f"{name}.toml"
    file.write_text(
        f'socket = "{directory}/{name}.sock"\nstore = "{directory}/manager.sqlite"\n'
        f'[tls]\nca = "{tls.ca}"\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\n'
        '[hosts.host-a]\naddress = "127.0.0.1:1"\n[networks.lan]\npool = "10.90.0.100-10.90.0.199/24"\n'
    )
    return file


def start(file: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "godwit.main.godwit", "manager", "--config", str(file)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(file: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(file)
    assert process.stderr
    try:
        assert "the manager answers at" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_answers_and_starts_again_however_it_ended(directory: Path, number: signal.Signals) -> None:
    file = configure(directory)
    for _ in range(2):
        with running(file) as process:
            with Client(directory / "manager.sock") as client:
                (host,) = client.hosts()
                assert (host.name, host.reachable) == ("host-a", False)
                assert "host-a's agent at 127.0.0.1:1 does not answer" in str(host.reason)
                assert [each.pool for each in client.networks()] == ["10.90.0.100-10.90.0.199/24"]
            process.send_signal(number)
            assert process.wait(120) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
            assert (directory / "manager.sock").exists() == (number == signal.SIGKILL), "it removes its socket itself"


def test_a_second_one_on_the_same_store_is_refused(directory: Path) -> None:
    file = configure(directory)
    with running(file):
        second = start(file)
        _, told = second.communicate(timeout=120)
        assert second.returncode == 2
        assert told.startswith("godwit: another manager uses the store")


def test_without_its_certificates_it_is_refused(directory: Path) -> None:
    file = configure(directory)
    file.write_text(file.read_text().partition("[hosts")[0])
    (directory / "ca.pem").unlink()
    process = start(file)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert told.startswith(f"godwit: {directory}/ca.pem cannot be read (No such file or directory); make it with")


def test_without_hosts_it_says_so(directory: Path) -> None:
    file = configure(directory)
    file.write_text(file.read_text().partition("[hosts")[0])
    with running(file) as process:
        assert process.stderr
        assert "there are no hosts: put [hosts.NAME] with its address" in process.stderr.readline()
