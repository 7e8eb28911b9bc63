"""What was found by looking closer than a host's facts, for the rules of `core.preflight`: values only."""

from __future__ import annotations

from godwit.core.model import Fact, Name
from godwit.core.value import Rounded


class NodeLook(Fact):
    """An image file as QEMU has it open."""

    path: str
    direct: bool
    """Past the host's page cache."""
    flushes: bool
    """What the guest flushes really is on the disk."""
    writable: bool


class VmLook(Fact):
    """A running VM, asked from its QEMU and from the kernel."""

    blocked: tuple[str, ...] = ()
    """Why QEMU itself refuses to migrate, in its words."""
    nodes: tuple[NodeLook, ...] = ()
    has_guest_agent: bool = True
    """A guest agent listens inside."""
    guest_agent_lacks: tuple[str, ...] = ()
    """Of `core.guest.GUEST_COMMANDS`, what it does not know or may not do."""
    swapped_mib: int = 0
    """Of its memory, in the source's swap."""


class FileLook(Fact):
    """A file as one host sees it."""

    path: str
    size_bytes: int | None = None
    """None: it is not there, or cannot be read."""
    inode: int | None = None
    """The same on every host that shares the file."""


class Heard(Fact):
    """The probe frames of another host that came in by an uplink of a bridge."""

    host: Name
    bytes: int
    """Of the longest one, with its Ethernet header."""
    vlan: int | None = None
    """The tag that they carried on arrival."""


class Claim(Fact):
    """Somebody else answers for an address of the VM."""

    ip: str
    mac: str


class SegmentLook(Fact):
    """A network as one host's frames found it."""

    network: Name
    bridge: str
    mtu: int
    uplinks: tuple[str, ...] = ()
    """The ports of the bridge that lead out of the host."""
    has_stp: bool = False
    """The bridge's spanning tree decides on its ports, and keeps a new one waiting."""
    is_programmed: bool = False
    """Somebody's flows in the bridge decide before its own table does."""
    heard: tuple[Heard, ...] = ()
    claims: tuple[Claim, ...] = ()
    returned: tuple[str, ...] = ()
    """The uplinks by which the host's own frames came back."""


class Answer(Fact):
    """An address of the VM, asked for from within its host."""

    ip: str
    after_ms: Rounded | None = None
    """None: no answer within a second."""


class Pulse(Fact):
    """Whether a VM is alive."""

    is_running: bool
    """QEMU says that its vCPUs run."""
    cpu_ms: Rounded = 0.0
    """CPU time that its vCPUs used while it was looked at; an idle guest may use none."""
    answers: tuple[Answer, ...] = ()
    broken_disks: tuple[str, ...] = ()
    """Those at which an error has stopped the guest's I/O."""
    agent_ms: Rounded | None = None
    """After which its guest agent answered; none: it did not, there is none, or its network had told enough."""
    disk_operations: int = 0
    """Reads, writes and flushes of the guest that have gone through here."""
    failed_operations: int = 0

    @property
    def complaint(self) -> str | None:
        """What is wrong; none: nothing that can be seen."""
        silent = [each.ip for each in self.answers if each.after_ms is None]
        if not self.is_running:
            return "its vCPUs do not run"
        if self.broken_disks:
            return f"its disk {', '.join(self.broken_disks)} gives errors"
        if self.failed_operations:
            return f"{self.failed_operations} reads or writes of its disks failed"
        is_heard = self.agent_ms is not None  # a guest that drops ARP may be well all the same
        return f"{', '.join(silent)} does not answer" if silent and not is_heard else None


class Looked(Fact):
    """All of it; what nobody looked at is None or empty."""

    vm: VmLook | None = None
    source_files: tuple[FileLook, ...] = ()
    destination_files: tuple[FileLook, ...] = ()
    source_segments: tuple[SegmentLook, ...] = ()
    destination_segments: tuple[SegmentLook, ...] = ()
    failures: tuple[str, ...] = ()
    """What could not be looked at, and why."""
