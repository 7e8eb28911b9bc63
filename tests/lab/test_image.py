"""The guest image: its parts from files made here, and the whole of it booted."""

from __future__ import annotations

import itertools
import json
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)
from tests.ports import free_ports

from godwit.core.errors import Failed, NotFound, Unreachable
from godwit.lab import image, shell
from godwit.lab.image_build import GUEST
from godwit.lab.image_cpio import Entry, link, pack, program
from godwit.lab.image_elf import module_dependencies, needed_libraries
from godwit.lab.image_keys import new_ssh_keys
from godwit.lab.image_recipe import READY_LINE, Recipe, chargen_pattern
from godwit.lab.image_tree import guest_tree


def unpacked(archive: bytes) -> list[tuple[str, int, bytes]]:
    """(path, mode, content) of each record of a newc archive, in its order."""
    records, at = [], 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * each : at + 14 + 8 * each], 16) for each in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = at + 110 + name_size + -(110 + name_size) % 4
        records.append((name, mode, archive[start : start + size]))
        at = start + size + -size % 4
    return records


def test_archive_has_every_entry_after_its_parents() -> None:
    records = unpacked(pack({"bin/sh": link("busybox"), "bin/busybox": program(b"elf"), "a": Entry(b"12345")}))
    assert records == [
        ("a", stat.S_IFREG | 0o644, b"12345"),
        ("bin", stat.S_IFDIR | 0o755, b""),
        ("bin/busybox", stat.S_IFREG | 0o755, b"elf"),
        ("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        ("TRAILER!!!", 0, b""),
    ]


def test_a_program_names_its_libraries_and_its_loader() -> None:
    needed = needed_libraries(Path("/bin/sh").read_bytes())
    assert "libc.so.6" in needed
    assert needed[-1].startswith("ld-linux")
    assert needed_libraries(b"#!/bin/sh\nexit 0\n") == ()


@pytest.mark.parametrize(
    ("module_information", "names"),
    [(b"license=GPL\0depends=virtio,failover\0", ("virtio", "failover")), (b"x=1\0depends=\0", ()), (b"x=1\0", ())],
)
def test_a_module_names_what_it_depends_on(module_information: bytes, names: tuple[str, ...]) -> None:
    assert module_dependencies(b"\0" + module_information) == names


def test_bulk_pattern_is_the_one_of_rfc_864() -> None:
    lines = chargen_pattern().splitlines()
    assert [len(line) for line in lines] == [72] * 95
    assert lines[1].startswith(b"!\"#$%&'()")
    assert all(later[:71] == line[1:] for line, later in itertools.pairwise(lines))


@pytest.fixture
def kernel_modules(tmp_path: Path) -> Path:
    """A folder with modules net_a (needs net_b, net_c), net_b (needs net_c), net_c; built in: net_d."""
    folder = tmp_path / "modules"
    (folder / "kernel").mkdir(parents=True)
    for name, depends in {"net_a": b"net_b,net_c", "net-b": b"net_c", "net_c": b""}.items():
        (folder / f"kernel/{name}.ko").write_bytes(b"\0depends=" + depends + b"\0")
    (folder / "modules.builtin").write_text("kernel/net/net-d.ko\n")
    return folder


def tree_of(recipe: Recipe, root: Path, modules: Path) -> dict[str, Entry]:
    return guest_tree(recipe, root=root, guest=GUEST, modules=modules)


def test_modules_are_listed_after_their_dependencies(tmp_path: Path, kernel_modules: Path) -> None:
    tree = tree_of(Recipe((), programs=(), modules=("net-a", "net_d")), tmp_path / "root", kernel_modules)
    assert tree["lib/modules/order"].content == b"net_c\nnet_b\nnet_a\n"
    assert {path for path in tree if path.endswith(".ko")} == {f"lib/modules/net_{each}.ko" for each in "abc"}


def test_own_programs_can_be_run_and_own_settings_cannot(tmp_path: Path, kernel_modules: Path) -> None:
    tree = tree_of(Recipe((), programs=(), modules=()), tmp_path / "root", kernel_modules)
    assert tree["init"].mode == stat.S_IFREG | 0o755
    assert tree["etc/inittab"].mode == stat.S_IFREG | 0o644
    assert READY_LINE.encode() in tree["bin/announce-ready"].content


@pytest.mark.parametrize(
    ("recipe", "missing"),
    [
        (Recipe((), programs=("no-such-program",), modules=()), "no-such-program"),
        (Recipe((), programs=(), libraries=("libno.so.1",), modules=()), r"libno\.so\.1"),
        (Recipe((), programs=(), modules=("no_such_module",)), "no_such_module"),
    ],
)
def test_what_no_package_has_is_named(recipe: Recipe, missing: str, tmp_path: Path, kernel_modules: Path) -> None:
    with pytest.raises(Failed, match=missing):
        tree_of(recipe, tmp_path / "root", kernel_modules)


def test_the_guest_lets_the_client_key_in() -> None:
    keys = new_ssh_keys()
    client = load_ssh_private_key(keys.client_private, None)
    authorized = load_ssh_public_key(keys.guest_files["root/.ssh/authorized_keys"].content)
    raw = (Encoding.Raw, PublicFormat.Raw)
    assert client.public_key().public_bytes(*raw) == authorized.public_bytes(*raw)


def test_the_host_key_has_dropbears_format() -> None:
    content = new_ssh_keys().guest_files["etc/dropbear_ed25519_host_key"].content
    kind, halves = content[4:15], content[19:]
    assert (kind, struct.unpack_from(">I", content, 15)[0], len(halves)) == (b"ssh-ed25519", 64, 64)
    assert Ed25519PrivateKey.from_private_bytes(halves[:32]).public_key().public_bytes_raw() == halves[32:]


def test_an_unknown_image_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="base, tools"):
        image.ensure_image("nonesuch", cache=tmp_path / "cache", progress=print)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    with pytest.raises(Failed, match="set XDG_CACHE_HOME"):
        image.ensure_image("base", cache=tmp_path / "cache", progress=print)


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No apt-get here, as good as no network."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("no_programs")
def test_without_packages_there_is_no_image_and_the_cache_stays_clean(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="check the network"):
        image.ensure_image("base", cache=tmp_path, progress=lambda line: None)
    assert [path for path in (tmp_path / "images").iterdir() if path.suffix != ".lock"] == []


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize("lists", ["unchanged", "gone"])
def test_without_packages_the_image_built_before_is_used(lists: str, tmp_path: Path) -> None:
    built = tmp_path / "images/base-0123456789ab"
    built.mkdir(parents=True)
    stamp = image.lists_stamp() if lists == "unchanged" else "of another day"
    facts = {"directory": built.name, "recipe": image.recipe_digest(), "lists": stamp}
    (tmp_path / "images/.base.latest.json").write_text(json.dumps(facts))
    said: list[str] = []
    assert image.ensure_image("base", cache=tmp_path, progress=said.append) == built
    assert len(said) == (0 if lists == "unchanged" else 1)


@contextmanager
def guest(directory: Path, *, cpu: str, qmp: Path, ports: dict[int, int]) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU that boots the image in `directory` under TCG, its console on stdout; killed at the end."""
    facts = json.loads((directory / "image.json").read_text())
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in ports.items())
    options = f"""-M q35 -accel tcg,thread=multi -cpu {cpu} -m 256 -nodefaults -nographic -serial stdio
        -kernel {directory / facts["kernel"]} -initrd {directory / facts["initrd"]}
        -netdev user,id=lan{forwards} -device virtio-net-pci,netdev=lan,romfile=
        -qmp unix:{qmp},server=on,wait=off""".split()
    network = "ip=10.0.2.15::10.0.2.2:255.255.255.0:vm1:eth0:off"
    with subprocess.Popen(
        ["qemu-system-x86_64", *options, "-append", f"{facts['cmdline']} {network}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as qemu:
        try:
            yield qemu
        finally:
            qemu.kill()


def answer(port: int, request: bytes, length: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(request)
        return exactly(connection.makefile("rb"), length)


def exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    assert len(data) == length
    return data


def console_until_ready(console: IO[bytes]) -> bytes:
    """The guest's console up to its ready line; what it said instead, when it ends without one."""
    said = b""
    for line in console:
        said += line
        if line.strip() == READY_LINE.encode():
            return said
    raise AssertionError(said.decode(errors="replace"))


def power_button(qmp: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(qmp))
        stream = connection.makefile("rwb", buffering=0)
        stream.write(b'{"execute": "qmp_capabilities"}{"execute": "system_powerdown"}')
        for line in stream:
            if b"POWERDOWN" in line:
                return


@pytest.mark.lab
@pytest.mark.parametrize("cpu", ["qemu64", "Nehalem"])
def test_the_base_image_boots_serves_and_turns_off(cpu: str, tmp_path: Path) -> None:
    directory = image.ensure_image("base", cache=image.default_cache(), progress=say)
    assert sum((directory / file).stat().st_size for file in ("vmlinuz", "initrd")) < 25e6
    ports = dict(zip((6379, 22, 7, 19), free_ports(4), strict=True))
    with guest(directory, cpu=cpu, qmp=tmp_path / "qmp", ports=ports) as qemu:
        assert qemu.stdout is not None
        console_until_ready(qemu.stdout)
        assert answer(ports[6379], b"PING\r\n", 7) == b"+PONG\r\n"
        assert answer(ports[7], b"0123456789abcdef" * 2, 32) == b"0123456789abcdef" * 2
        assert answer(ports[19], b"", 20_000) == (chargen_pattern() * 3)[:20_000]
        assert in_guest(directory / "id_ed25519", ports[22], "hostname; id -un") == "vm1\nroot\n"
        power_button(tmp_path / "qmp")
        assert qemu.wait(timeout=120) == 0


def in_guest(key: Path, port: int, command: str) -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
    words = [word for option in options for word in ("-o", option)]
    return shell.run(["ssh", "-i", str(key), "-p", str(port), *words, "root@127.0.0.1", command], timeout_s=120)


def say(line: str) -> None:
    print(line, file=sys.stderr)
