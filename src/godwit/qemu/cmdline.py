"""A VM's values in, QEMU's command line out: pure, and the same on both sides of a migration but for `-incoming`.

Devices have fixed ids and addresses, because a memory image names them by both. They are as few as possible: loading
costs most per PCI device, and it happens in the blackout (hence no SATA, no SMBus, no root ports).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from godwit.core.errors import Invalid
from godwit.core.model import Accelerator, Disk, Nic, Pinned, VmSpec
from godwit.qemu import blocks

_FIRST_NIC_SLOT = 0x02
_FIRST_DISK_SLOT = 0x0A
_SERIAL_SLOT = 0x1C
_RANDOM_SLOT = 0x1D
MAX_NICS = _FIRST_DISK_SLOT - _FIRST_NIC_SLOT
MAX_DISKS = _SERIAL_SLOT - _FIRST_DISK_SLOT


@dataclass(frozen=True)
class Launch:
    """All that one QEMU is started from."""

    binary: str
    firmware_dir: Path | None
    run_dir: Path
    spec: VmSpec
    pinned: Pinned
    tap_fds: tuple[tuple[int, ...], ...] = ()
    """One tuple per NIC: the descriptors of its tap's queues, as the starting process numbers them."""
    uefi_code: str = ""
    """The firmware's code, for a VM whose firmware is UEFI."""
    incoming: bool = False
    """It waits, stopped, for a memory stream; otherwise the guest boots at once."""


def argv(launch: Launch) -> list[str]:
    """The command line; `Invalid` for more devices than there are slots, or a NIC without its tap."""
    spec = launch.spec
    if len(spec.nics) > MAX_NICS or len(spec.disks) > MAX_DISKS:
        raise Invalid(f"{spec.name} has too many devices: at most {MAX_NICS} NICs and {MAX_DISKS} disks fit")
    if [len(fds) for fds in launch.tap_fds] != [1] * len(spec.nics):
        raise Invalid(f"{spec.name} needs one tap queue for each of its {len(spec.nics)} NICs")
    return [
        launch.binary,
        *(["-L", str(launch.firmware_dir)] if launch.firmware_dir else []),
        *_platform(spec, launch.pinned),
        *_firmware(spec, launch.uefi_code),
        *_boot(spec),
        *_channels(launch.run_dir),
        *[word for index, nic in enumerate(spec.nics) for word in _nic(index, nic, launch.tap_fds[index][0])],
        *[word for index in range(len(spec.disks)) for word in _disk(spec, index)],
        *_device(driver="virtio-rng-pci", id="random", rng="entropy", addr=_slot(_RANDOM_SLOT), **_MODERN),
        *(["-S", "-incoming", "defer"] if launch.incoming else []),
    ]


_MODERN: dict[str, object] = {"bus": "pcie.0", "disable-legacy": "on", "disable-modern": False}


def _platform(spec: VmSpec, pinned: Pinned) -> list[str]:
    machine = (
        f"{pinned.machine},usb=off,vmport=off,smm=off,hpet=off,sata=off,smbus=off,"
        "memory-backend=memory,suppress-vmdesc=on"
    ) + (",pflash0=uefi-code,pflash1=uefi-variables" if spec.firmware else "")
    accelerator = "tcg,thread=multi" if pinned.accelerator is Accelerator.tcg else "kvm"
    return [
        *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-msg", "timestamp=on"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-name", f"guest={spec.name},debug-threads=on", "-uuid", spec.uuid),
        *("-machine", machine, "-accel", accelerator, "-cpu", f"{pinned.cpu_model},enforce"),
        *("-smp", f"cpus={spec.cpus},sockets=1,cores={spec.cpus},threads=1"),
        *("-m", f"size={_memory_kib(spec, pinned)}K"),
        *("-object", f"memory-backend-ram,id=memory,size={_memory_kib(spec, pinned)}K"),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
    ]


def _memory_kib(spec: VmSpec, pinned: Pinned) -> int:
    """Under TCG 8 KiB less than asked for, so that no migration loses what the guest writes.

    Before 9.0 QEMU collects the dirty pages of a block that is a multiple of 64 pages long by a quick way that leaves
    TCG's TLB believing that they are still marked: later stores to them are not seen, and never sent. Any other
    length takes the slow way, which is right (cpu_physical_memory_sync_dirty_bitmap in include/exec/ram_addr.h).
    """
    return spec.memory_mib * 1024 - (8 if pinned.accelerator is Accelerator.tcg else 0)


def _firmware(spec: VmSpec, code: str) -> list[str]:
    """Two flash chips: code that nobody writes, and variables that go where the VM goes."""
    if spec.firmware is None:
        return []
    file = {"driver": "file", "filename": code}
    chip = {"node-name": "uefi-code", "driver": "raw", "read-only": True, "file": file}
    return ["-blockdev", json.dumps(chip), "-blockdev", _node("uefi-variables", spec.firmware.variables)]


def _boot(spec: VmSpec) -> list[str]:
    """An image without a kernel boots from the VM's first disk."""
    if not spec.image.kernel:
        return []
    words = [spec.image.cmdline, *[_ip_word(spec, index) for index, nic in enumerate(spec.nics) if nic.ip]]
    words += [f"godwit.ip6={nic.ip6}" for nic in spec.nics if nic.ip6][:1]
    initrd = ["-initrd", spec.image.initrd] if spec.image.initrd else []
    return ["-kernel", spec.image.kernel, *initrd, "-append", " ".join(word for word in words if word)]


def _ip_word(spec: VmSpec, index: int) -> str:
    """The kernel's ip= (Documentation/admin-guide/nfs/nfsroot): client, server, gateway, mask, name, device, how."""
    ip = spec.nics[index].ip
    return f"ip={ip.ip}:::{ip.netmask}:{spec.name}:eth{index}:off" if ip else ""


def _channels(run_dir: Path) -> list[str]:
    """Two monitors (the keeper's, and one for whoever must hear STOP at once), a console, and the guest agent."""
    directory = str(run_dir).replace(",", ",,")

    def listening(name: str, file: str) -> list[str]:
        return ["-chardev", f"socket,id={name},path={directory}/{file}.sock,server=on,wait=off"]

    console = listening("console", "console")
    console[1] += f",logfile={directory}/console.log,logappend=on"
    return [
        *(*listening("control", "qmp"), "-mon", "chardev=control,mode=control"),
        *(*listening("events", "events"), "-mon", "chardev=events,mode=control"),
        *(*console, *_device(driver="isa-serial", id="serial0", chardev="console")),
        *listening("agent", "agent"),
        *_device(driver="virtio-serial-pci", id="ports", addr=_slot(_SERIAL_SLOT), **_MODERN, **{"max_ports": 2}),
        *_device(driver="virtserialport", id="agent0", bus="ports.0", chardev="agent", name="org.qemu.guest_agent.0"),
    ]


def _nic(index: int, nic: Nic, tap_fd: int) -> list[str]:
    """No ROM: it would be one more region of memory to move, and nobody boots from the network."""
    name = f"nic{index}"
    return [
        *("-netdev", f"tap,id=tap{index},fd={tap_fd},vhost=off"),
        *_device(
            driver="virtio-net-pci",
            id=name,
            netdev=f"tap{index}",
            mac=nic.mac,
            romfile="",
            addr=_slot(_FIRST_NIC_SLOT + index),
            **_MODERN,
        ),
    ]


def _disk(spec: VmSpec, index: int) -> list[str]:
    boots = {"bootindex": 1} if index == 0 and not spec.image.kernel else {}
    shared = {"share-rw": True} if spec.disks[index].clustered else {}
    return [
        *("-blockdev", _node(f"disk{index}", spec.disks[index])),
        *_device(
            driver="virtio-blk-pci",
            id=f"block{index}",
            drive=f"disk{index}",
            addr=_slot(_FIRST_DISK_SLOT + index),
            **{"num-queues": 1, **boots, **shared, **_MODERN},
        ),
    ]


def _node(name: str, disk: Disk) -> str:
    return json.dumps(blocks.node(name, disk))


def _device(**options: object) -> list[str]:
    """In JSON, all of them: QEMU makes the two forms at different times, whatever their order."""
    return ["-device", json.dumps(options)]


def _slot(number: int) -> str:
    return f"{number:02x}.0"
