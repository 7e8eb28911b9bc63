"""A distribution's own guest, from its disk image: cloud-init, ssh, there and back, and off by itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.lab.image import default_cache

pytestmark = [pytest.mark.acceptance, pytest.mark.lab, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
MAKER = ROOT / "tools" / "make-test-image"
GODWIT = Path(sys.executable).with_name("godwit")
BOOT_S = 400
"""Under TCG cloud-init alone takes a minute."""


@pytest.fixture(scope="module")
def image() -> Path:
    """Made once for each version of its maker."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed, so that no test image can be made: see tools/make-test-image")
    digest = hashlib.sha256(MAKER.read_bytes()).hexdigest()[:12]
    path = default_cache() / "disk-images" / f"debian-{digest}.qcow2"
    if not path.exists():
        subprocess.run([MAKER, path], check=True, timeout=1200)
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ["GODWIT_LAB"] = f"cloud-{os.getpid()}"
    try:
        godwit("lab", "up")
        yield
    finally:
        godwit("lab", "down")
        del os.environ["GODWIT_LAB"]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def godwit(*words: str | Path, status: int = 0) -> str:
    done = subprocess.run([GODWIT, *words], capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def ssh_argv(key: Path, address: str, command: str) -> list[str]:
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    words = [word for each in (*options, "ConnectTimeout=5") for word in ("-o", each)]
    ssh = ["ssh", "-T", "-F", "/dev/null", "-i", str(key), *words, f"ada@{address}", command]
    return [str(GODWIT), "lab", "exec", "client", "--", *ssh]


def answer(key: Path, address: str, command: str) -> str:
    """What the guest says, as soon as it lets us in."""
    deadline = time.monotonic() + BOOT_S
    while True:
        done = subprocess.run(ssh_argv(key, address, command), capture_output=True, text=True, timeout=300)
        if done.returncode != 255 or time.monotonic() > deadline:
            assert done.returncode == 0, done.stderr
            return done.stdout
        time.sleep(3)


COUNTER = """
number=0
while [ ! -e /tmp/stop ]; do
    echo $number | sudo tee -a /var/log/counter >/dev/null && sudo sync /var/log/counter && echo $number
    number=$((number + 1))
done
"""


def move_while_counting(vm: str, key: Path, address: str) -> int:
    """There and back, while the guest writes numbers to its disk and tells which of them are there."""
    with subprocess.Popen(ssh_argv(key, address, COUNTER), stdout=subprocess.PIPE, text=True) as counter:
        assert counter.stdout is not None
        assert counter.stdout.readline() == "0\n"
        for host in ("host-b", "host-a"):
            godwit("migrate", vm, host)
        answer(key, address, "touch /tmp/stop")
        told = [int(line) for line in counter.stdout]
    assert told == list(range(1, len(told) + 1))
    return len(told)


@pytest.mark.usefixtures("lab")
def test_a_cloud_image_boots_moves_and_goes(image: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    words = ("--image", image, "--disk-size", "4GiB", "--memory", "512MiB", "--user", "ada", "--ssh-key", public)
    godwit("vm", "create", "cloud-1", *words, "--network", "lan=10.90.0.60/24", "--host", "host-a")

    assert answer(key, "10.90.0.60", "hostname").strip() == "cloud-1"
    assert json.loads(answer(key, "10.90.0.60", "cloud-init status --wait --format json"))["status"] == "done"
    assert "10.90.0.60/24" in answer(key, "10.90.0.60", "ip -br address")
    assert int(answer(key, "10.90.0.60", "df --output=size / | tail -1")) > 3 << 20, "grown to the disk's size, KiB"
    assert answer(key, "10.90.0.60", "sudo id -u").strip() == "0"

    count = move_while_counting("cloud-1", key, "10.90.0.60")
    assert int(answer(key, "10.90.0.60", "wc -l </var/log/counter")) == count + 1
    godwit("vm", "stop", "cloud-1", "--grace", "120s")
    logs = subprocess.run(["grep", "-rhs", "did not power down", state_of_lab()], capture_output=True, text=True)
    assert logs.stdout == "", "it went off by itself"

    paths = [disk["path"] for disk in json.loads(godwit("disk", "list", "--json"))]
    assert [Path(path).name for path in paths] == ["root.raw", "cloud-init.raw"]
    godwit("vm", "delete", "cloud-1")
    assert [path for path in paths if Path(path).exists()] == []


@pytest.mark.usefixtures("lab")
def test_with_uefi_and_a_link_it_moves_too(image: Path, key: Path, tmp_path: Path) -> None:
    if not Path("/usr/share/OVMF").exists():
        pytest.skip("no UEFI firmware is installed: apt-get install ovmf")
    inside = tmp_path / "debian.qcow2"
    shutil.copyfile(image, inside)
    godwit("datastore", "add", "images", "--path", tmp_path, "--shared")
    words = ("--image", inside, "--link", "--datastore", "images", "--firmware", "uefi", "--user", "ada")
    card = ("--network", "lan=10.90.0.61/24", "--host", "host-a")
    godwit("vm", "create", "cloud-2", *words, "--ssh-key", key.with_suffix(".pub"), *card)

    assert "efivars" in answer(key, "10.90.0.61", "ls /sys/firmware/efi")
    count = move_while_counting("cloud-2", key, "10.90.0.61")
    assert int(answer(key, "10.90.0.61", "wc -l </var/log/counter")) == count + 1
    godwit("vm", "stop", "cloud-2", "--grace", "120s")
    assert "holds disks of cloud-2" in godwit("datastore", "remove", "images", status=2)
    godwit("vm", "delete", "cloud-2")
    godwit("datastore", "remove", "images")
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == [".godwit-datastore", "debian.qcow2"]  # the first: by which hosts would know it again


def state_of_lab() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "godwit" / "labs" / os.environ["GODWIT_LAB"]
