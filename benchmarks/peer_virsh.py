"""`virsh migrate --live` between two libvirtd, one in each host of the lab.

A lab host has its own mount, UTS, process and network namespaces, so each daemon gets its own directories by bind
mounts there, and a host id of its own: libvirt refuses to migrate to itself.
"""

from __future__ import annotations

import re
import threading
import time
import uuid

from benchmarks.emulator import MODULES
from benchmarks.place import OTHER, Moved, Program, Site
from godwit.core.errors import Failed, TimedOut

DIRECTORIES = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
READY_S = 60.0
EVENT = re.compile(r"event (\w+) at ([0-9.]+) for domain")
FIGURE = re.compile(r"^(?P<name>[A-Z][\w ]+):\s+(?P<number>[0-9.]+)\s+(?P<unit>\w+)", re.M)
BYTES = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

DAEMON = """
set -e
mkdir -p /run/libvirt
for name in etc lib cache log; do mkdir -p "$1/$name"; done
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
# the package libvirt-daemon-system would add this user, and start a daemon of its own: only this namespace knows it
cp /etc/passwd "$1/passwd"
grep -q ^libvirt-qemu: "$1/passwd" || echo "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false" >>"$1/passwd"
cp /etc/group "$1/group"
for name in libvirt-qemu:64055 kvm:64056; do
    grep -q "^${name%:*}:" "$1/group" || echo "${name%:*}:x:${name#*:}:" >>"$1/group"
done
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/cache" /var/cache/libvirt
mount --bind "$1/log" /var/log/libvirt
# a QEMU that is told to load all its modules, as libvirt does, dies of one of the installed QEMU's
if [ -n "$2" ] && [ -d "$3" ]; then mount --bind "$2" "$3"; fi
exec libvirtd --listen --pid-file /run/libvirt/libvirtd.pid
"""

LIBVIRTD_CONF = """
listen_tls = 0
listen_tcp = 1
listen_addr = "{control}"
auth_tcp = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
host_uuid = "{uuid}"
keepalive_interval = -1
"""

QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_host = "{migration}"
migration_address = "{migration}"
"""

DOMAIN = """
<domain type='{type}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>0be00000-0000-4000-8000-000000000061</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/><apic/><vmport state='off'/></features>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <devices>
    <emulator>{qemu}</emulator>
    <controller type='usb' model='none'/>
    <controller type='virtio-serial' index='0' model='virtio-non-transitional' ports='2'>
      <address type='pci' domain='0' bus='0' slot='0x1c' function='0'/>
    </controller>
    <interface type='bridge'>
      <mac address='52:54:00:be:00:61'/>
      <source bridge='br-lan'/>
      <model type='virtio-non-transitional'/>
      <rom enabled='no'/>
      <address type='pci' domain='0' bus='0' slot='0x02' function='0'/>
    </interface>
    <serial type='file'><source path='{console}'/><target type='isa-serial' port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio-non-transitional'>
      <backend model='random'>/dev/urandom</backend>
      <address type='pci' domain='0' bus='0' slot='0x1d' function='0'/>
    </rng>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-cpu'/><qemu:arg value='{cpu},enforce'/>
    <qemu:arg value='-object'/><qemu:arg value='memory-backend-ram,id=memory,size={memory_kib}K'/>
    <qemu:arg value='-m'/><qemu:arg value='size={memory_kib}K'/>
    <qemu:arg value='-machine'/><qemu:arg value='smm=off,sata=off,smbus=off,memory-backend=memory'/>
  </qemu:commandline>
</domain>
"""
"""The devices that godwit gives a VM, at the same addresses. libvirt would add a PCI bridge for each, and a SATA
controller. Memory is 8 KiB short of whole MiB because QEMU before 9.0 loses writes of an emulated CPU otherwise
(src/godwit/qemu/cmdline.py); libvirt rounds, so it is said behind its back."""


class LibvirtVm:
    """One VM under libvirt, which several ways of moving it share."""

    name = "libvirt"
    address = "10.90.0.61"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.host = "host-a"
        for host in OTHER:
            self._start_daemon(host)
        for host in OTHER:
            self._wait(host)
        self._listeners = {host: Listener(site, host) for host in OTHER}
        file = site.directory / "domain.xml"
        file.write_text(self._domain())
        site.run(self.host, "virsh", "create", str(file))

    def _start_daemon(self, host: str) -> None:
        place = self.site.directory / f"libvirt-{host}"
        etc = place / "etc"
        etc.mkdir(parents=True)
        words = {
            "control": self.site.control_address(host),
            "migration": self.site.migration_address(host),
            "uuid": str(uuid.uuid4()),
        }
        (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(**words))
        (etc / "qemu.conf").write_text(QEMU_CONF.format(**words))
        modules = str(self.site.emulator.modules or ""), str(MODULES)
        self.site.start(host, "bash", "-c", DAEMON, "libvirtd", str(place), *modules, log=place / "libvirtd.err")

    def _wait(self, host: str) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self.site.run(host, "virsh", "list")
                return
            except Failed as error:
                if time.monotonic() > deadline:
                    said = (self.site.directory / f"libvirt-{host}" / "libvirtd.err").read_text().splitlines()[-1:]
                    raise Failed(f"libvirtd on {host} does not answer: {error.message} {said}") from error
                time.sleep(0.2)

    def _domain(self) -> str:
        site = self.site
        return DOMAIN.format(
            type="qemu" if site.pinned.accelerator == "tcg" else "kvm",
            name=self.name,
            qemu=site.qemu,
            memory_mib=site.memory_mib,
            memory_kib=site.memory_mib * 1024 - (8 if site.pinned.accelerator == "tcg" else 0),
            machine=site.pinned.machine,
            cpu=site.pinned.cpu_model,
            kernel=site.image.kernel,
            initrd=site.image.initrd,
            cmdline=f"{site.image.cmdline} ip={self.address}:::255.255.255.0:{self.name}:eth0:off",
            console=site.directory / "libvirt.console",
        )

    def migrate(self, *, max_downtime_ms: int | None, limit_s: float, more: tuple[str, ...] = ()) -> Moved:
        """See `Peer`."""
        there = OTHER[self.host]
        if max_downtime_ms:
            self.site.run(self.host, "virsh", "migrate-setmaxdowntime", self.name, str(max_downtime_ms))
        listeners = self._listeners[self.host], self._listeners[there]
        for listener in listeners:
            listener.events.clear()
        begun = time.monotonic()
        uri = f"qemu+tcp://{self.site.control_address(there)}/system"
        try:
            self.site.run(self.host, "virsh", "migrate", "--live", *more, self.name, uri, limit_s=limit_s)
        except TimedOut:
            self.site.run(self.host, "virsh", "domjobabort", self.name)
            self._wait_quiet()
            raise
        command_ms = 1000 * (time.monotonic() - begun)
        stopped_ms, resumed_ms = listeners[0].wait("STOP"), listeners[1].wait("RESUME")
        self.host = there
        figures = self._figures(there)
        return Moved(
            stopped_ms=stopped_ms,
            resumed_ms=resumed_ms,
            command_ms=command_ms,
            total_ms=figures.get("Time elapsed"),
            transferred_bytes=int(figures["Memory processed"]) if "Memory processed" in figures else None,
        )

    def first(self, host: str, event: str) -> float:
        """When QEMU told of it on that host, during the last migration."""
        return next(at_ms for name, at_ms in self._listeners[host].events if name == event)

    def _wait_quiet(self) -> None:
        deadline = time.monotonic() + READY_S
        while "None" not in self.site.run(self.host, "virsh", "domjobinfo", self.name):
            if time.monotonic() > deadline:
                raise Failed("libvirt does not end its job")
            time.sleep(0.2)

    def _figures(self, host: str) -> dict[str, float]:
        told = self.site.run(host, "virsh", "domjobinfo", "--completed", self.name)
        return {
            match["name"].strip(): float(match["number"]) * BYTES.get(match["unit"], 1)
            for match in FIGURE.finditer(told)
        }


class Listener:
    """What QEMU tells one libvirtd, with QEMU's own time."""

    def __init__(self, site: Site, host: str) -> None:
        self.events: list[tuple[str, float]] = []
        self._program: Program = site.start(host, "stdbuf", "-oL", "virsh", "qemu-monitor-event", "--loop")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                if match := EVENT.search(self._program.line(limit_s=3600)):
                    self.events.append((match[1], 1000 * float(match[2])))
        except (Failed, ValueError, OSError):
            return

    def wait(self, name: str) -> float:
        """When the last such event was; there is one."""
        deadline = time.monotonic() + READY_S
        while True:
            found = [at_ms for event, at_ms in self.events if event == name]
            if found:
                return found[-1]
            if time.monotonic() > deadline:
                raise Failed(f"libvirt has told no {name}")
            time.sleep(0.005)


class Virsh:
    """That VM, moved with libvirt's default downtime limit (300 ms) or another one."""

    def __init__(self, vm: LibvirtVm, *, max_downtime_ms: int | None = None) -> None:
        self.name = f"virsh-{max_downtime_ms}ms" if max_downtime_ms else "virsh"
        self.vm, self.address = vm.name, vm.address
        self._vm, self._max_downtime_ms = vm, max_downtime_ms

    @property
    def host(self) -> str:
        """See `Peer`."""
        return self._vm.host

    def migrate(self, *, limit_s: float) -> Moved:
        """See `Peer`."""
        return self._vm.migrate(max_downtime_ms=self._max_downtime_ms, limit_s=limit_s)


def version(site: Site) -> str:
    """libvirt's."""
    return site.run("host-a", "virsh", "--version").strip()
