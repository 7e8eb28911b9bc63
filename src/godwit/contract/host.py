"""What the story needs a host to be: the verbs of a source and of a destination.

Every verb takes one message and returns one message or a stream of them, so that the wire (rpc/) is made from this
file alone. Orders are idempotent on (migration, attempt): repeat them after a lost answer. Queries change nothing.
A verb that raises `Refused` touched nothing; one that raises `Failed` has undone what it did; after `Unreachable`
nothing is known: query. An order that has arrived goes on when its caller leaves; one that undoes it waits for it.

    manager                     source                          destination
       |-- prepare_incoming ------------------------------------------->|  an empty QEMU listens, tap muted
       |-- lay_relay, meanwhile -->|
       |-- prepare_outgoing ------>|-- Peer.meet ---------------------->|  clocks compared, connection warm
       |-- copy ------------------>|==== memory =======================>|
       |-- hand_over ------------->|  STOP ... completed                |
       |                           |-- Peer.go ------------------------>|  loaded -> cont -> RESUME
       |                           |<- running -------------------------|
       |<- handed over ------------|  DONE                              |  announces
       |-- retire ---------------->|  QEMU gone                         |
       |-- settle ----------------------------------------------------->|
Undo: abort_outgoing at the source, then abort_incoming at the destination; both only before GO.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from pydantic import ConfigDict, Field

from godwit.contract.belongings import Belongings as Belongings
from godwit.contract.disk_host import DiskHost
from godwit.contract.guest import GuestHost
from godwit.contract.looks import ExchangeFrames, FilesLook, LookAtFiles, SegmentsLook
from godwit.contract.measures import Measure, Measurement, OpenSink, Sink
from godwit.contract.observed import Observe, Observed
from godwit.contract.order import Nothing as Nothing
from godwit.contract.order import Order as Order
from godwit.contract.order import VmRef as VmRef
from godwit.contract.relayed import Relayed as Relayed
from godwit.contract.relayed import Settled as Settled
from godwit.contract.relayed import Sighted as Sighted
from godwit.core.convergence import BUFFER_BYTES, FIXED_MS
from godwit.core.leftover import Leftovers
from godwit.core.looked import Pulse, VmLook
from godwit.core.migration import Event
from godwit.core.model import Disk, Fact, HostFacts, Name, Pinned, Value, VmSpec, VmStatus
from godwit.core.ownership import Cue
from godwit.core.report import PassReport, TimelineEntry
from godwit.core.verdict import Statement


class StartVm(Value):
    """Start this VM here; it is this host's from now on."""

    spec: VmSpec
    pinned: Pinned
    epoch: int | None = None
    """How often the VM was moved; a host that gave it away later than that refuses. None: not known."""
    announce: bool = False
    """Tell the network where it is, because its guest says nothing."""


class StopVm(Value):
    """End a VM: through ACPI within the time, then off."""

    name: Name
    grace_s: float = 30.0
    """0: at once."""
    then_off: bool = True
    """False: a guest that does not switch off in time runs on, and the order has failed."""
    migration: str = ""
    """By which it is stopped, if it is being moved."""


class Reserve(Order):
    """Keep room for the VM at the destination; mark the VM as moving at the source."""

    memory_mib: int
    role: str
    """`source`, `destination`, or `resting`: a source whose VM is off."""


class PrepareIncoming(Order):
    """Make an empty QEMU that waits for this VM."""

    spec: VmSpec
    pinned: Pinned
    source: Name
    source_peer_address: str
    """Where the source's agent answers this one."""
    source_address: str
    """The source's end of the relay, on the migration network."""
    multifd: bool
    disks: tuple[Disk, ...] = ()
    """Those that are written over the network until it runs."""
    tls: bool = False
    """Memory comes encrypted, with a key that the source asks for when it meets this host."""
    compression: str = "none"
    near: bool = True
    """The source is so near that sockets with buffers of that size keep the link busy."""
    buffer_bytes: int = BUFFER_BYTES


class IncomingReady(Fact):
    """The destination listens."""

    uri: str
    """For QEMU's `migrate`: `tcp:ADDRESS:PORT`."""
    boot_id: str


class PrepareOutgoing(Order):
    """Get ready to send this VM."""

    destination: Name
    peer_address: str
    destination_address: str
    """The destination's end of the relay, on the migration network."""
    uri: str = ""
    multifd: bool
    tls: bool = False
    compression: str = "none"
    near: bool = True
    buffer_bytes: int = BUFFER_BYTES
    max_blackout_ms: int
    deadline_s: float | None = None
    """For the copying."""
    fixed_ms: float = FIXED_MS
    """Of the blackout, what does not depend on what remains, as far as is known."""
    bandwidth_bytes_per_s: int | None = None
    disks: bool = False
    """Its disks are mirrored meanwhile: their copies are made complete while the vCPUs stand still."""


class OutgoingReady(Fact):
    """The source knows its peer."""

    clock_offset_ms: float
    """Destination's clock minus the source's."""
    clock_error_ms: float
    """Half of the best round trip: the offset is right within this."""
    notes: tuple[str, ...] = ()
    """What a person should know, though the VM can go."""


class HandedOver(Fact):
    """The VM runs at the destination, and its source never will again."""

    stopped_at_ms: float
    """Unix time of the source's STOP in milliseconds, source's clock."""
    resumed_at_ms: float
    """Unix time of the destination's RESUME in milliseconds, source's clock."""
    blackout_ms: float
    clock_error_ms: float
    predicted_blackout_ms: float | None = None
    """When the switch-over was decided."""
    rest_ms: float = 0.0
    """Of that, for what remained to be sent."""
    copying_ms: float = 0.0
    """From the first byte to STOP; 0: nobody knows any more."""
    compression: str = "none"
    transferred_bytes: int
    passes: tuple[PassReport, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    """Relative to STOP."""


class Resolve(Order):
    """What a person knows of the other host, which will not answer: on whose word this one acts."""

    cue: Literal[Cue.taken_over, Cue.restored, Cue.given_up]
    proof: str = Field(min_length=1)
    """How it is known."""


class Examine(Value):
    """The question for what nobody needs on a host."""

    repair: bool = False
    """What can be removed safely is removed."""
    migrations: tuple[str, ...] = ()
    """Under way: what they hold is needed."""


class ConsoleData(Value):
    """Bytes of a serial console; the first message to the host names the VM and may be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    name: Name | None = None
    data: bytes = b""


class Host(DiskHost, GuestHost, Protocol):
    """What the manager may ask of a host."""

    async def facts(self, request: Nothing, /) -> HostFacts:
        """What the host is and what runs on it."""
        ...

    def watch(self, request: Nothing, /) -> AsyncIterator[VmStatus]:
        """First the status of each VM, then each change, for as long as the caller listens."""
        ...

    async def start_vm(self, request: StartVm, /) -> VmStatus:
        """The VM runs here. On failure nothing is left of it."""
        ...

    async def stop_vm(self, request: StopVm, /) -> VmStatus:
        """The VM's QEMU is gone, and with it its taps."""
        ...

    async def vm_status(self, request: VmRef, /) -> VmStatus:
        """The VM as it is now; `NotFound` when no QEMU of it is here."""
        ...

    def console(self, request: AsyncIterator[ConsoleData], /) -> AsyncIterator[ConsoleData]:
        """The serial console, both ways, until either side closes."""
        ...

    async def look_at_vm(self, request: VmRef, /) -> VmLook:
        """What its QEMU says of itself; changes nothing."""
        ...

    async def feel_pulse(self, request: VmRef, /) -> Pulse:
        """Whether the VM is alive: it is asked, within little more than a second; changes nothing."""
        ...

    async def look_at_files(self, request: LookAtFiles, /) -> FilesLook:
        """Each file as this host sees it; changes nothing."""
        ...

    async def exchange_frames(self, request: ExchangeFrames, /) -> SegmentsLook:
        """The probe frames of the other host, asked the same at this moment, that arrived within a second."""
        ...

    async def reserve(self, request: Reserve, /) -> Nothing:
        """Room is kept (destination), or the VM is marked as moving (source); nothing else may move it."""
        ...

    async def release(self, request: Order, /) -> Nothing:
        """What `reserve` kept is free again; releasing twice, or what was never kept, is harmless."""
        ...

    async def measure(self, request: Measure, /) -> Measurement:
        """The link, the guest's memory and how it writes, as far as they could be measured. Changes nothing."""
        ...

    async def prepare_incoming(self, request: PrepareIncoming, /) -> IncomingReady:
        """An empty QEMU listens, its taps are plugged but muted. On failure nothing of it is left."""
        ...

    async def abort_incoming(self, request: Order, /) -> Nothing:
        """The waiting QEMU is gone; raises `Unresolved` if this host has been told to run the VM."""
        ...

    async def lay_relay(self, request: PrepareOutgoing, /) -> Nothing:
        """Of `prepare_outgoing`, what can be done without the destination's `uri`. `release` undoes it."""
        ...

    async def prepare_outgoing(self, request: PrepareOutgoing, /) -> OutgoingReady:
        """The peer is met, the relay reaches it and QEMU is set; the VM runs undisturbed."""
        ...

    def copy(self, request: Order, /) -> AsyncIterator[Event]:
        """Copies memory; ends when the rest fits into the blackout, or vCPUs have stopped already.

        Closing the stream does not stop the copying: `abort_outgoing` does.
        """
        ...

    async def hand_over(self, request: Order, /) -> HandedOver:
        """The VM runs at the destination. `Failed`: it runs here again. `Unresolved`: ask both."""
        ...

    async def abort_outgoing(self, request: Order, /) -> Nothing:
        """The VM runs here as before; raises `Unresolved` if it has been given away."""
        ...

    async def retire(self, request: Order, /) -> Nothing:
        """The source's QEMU is gone; only after `hand_over`."""
        ...

    async def settle(self, request: Order, /) -> Settled:
        """The first announcements are out at the destination; asked again, it tells of all since."""
        ...

    async def relayed(self, request: Order, /) -> Relayed:
        """What the source's relay of that migration did so far; changes nothing."""
        ...

    async def examine(self, request: Examine, /) -> Leftovers:
        """What lies here that nobody needs; removed, if asked for and safe: never what may be a last copy."""
        ...

    async def observe(self, request: Observe, /) -> Observed:
        """What went through the VM's taps here around the switch-over, after what was seen elsewhere before.

        Told once it is over, the same to whoever asks again; a host that did not watch tells so.
        """
        ...

    async def testify(self, request: Order, /) -> Statement:
        """What this host knows of that move, whether a QEMU is here or not; changes nothing."""
        ...

    async def resolve(self, request: Resolve, /) -> Statement:
        """The journal says what a person has settled, with the proof; `Refused` where that settles nothing."""
        ...


class Meet(Value):
    """The source's question for the time, and for whether the destination is ready for this move."""

    order: Order
    wants_key: bool = False


class Met(Fact):
    """The destination's answer."""

    unix_ms: float
    ready: bool
    key: str = ""
    """For the memory stream, to a source that wants it."""


class Heard(Fact):
    """What came to a destination of one migration so far, for each network card."""

    relayed: tuple[int, ...] = ()
    """Frames out of the tunnel."""
    probes: tuple[int, ...] = ()
    """Probes to the VM that came in by an uplink."""
    moved_on: bool = False
    """The VM is not there any more."""


class Go(Order):
    """The token: the destination may run the VM once it has loaded it."""

    count: int
    last: bool = False
    """The source's QEMU is dead: nobody else can run it."""


class GoAnswer(Fact):
    """What became of the token."""

    verdict: str
    """`running` (or it did), `returned` (not all came: the token goes back), `returned-dead` (its QEMU is dead and
    never ran it) or `lost` (dead, and nobody knows whether it ran)."""
    resumed_at_unix_ms: float | None = None
    """Destination's clock."""
    timeline: tuple[TimelineEntry, ...] = ()
    """`at_ms` here is Unix time on the destination's clock."""
    reason: str = ""


class Peer(Protocol):
    """What one agent may ask of another: the hand-over, and nothing else."""

    async def meet(self, request: Meet, /) -> Met:
        """The destination's clock, and whether it waits for this move. Changes nothing."""
        ...

    async def open_sink(self, request: OpenSink, /) -> Sink:
        """One connection to that port is taken, and what it sends is counted, for a second at most."""
        ...

    async def go(self, request: Go, /) -> GoAnswer:
        """Answered when the VM runs or the token comes back; repeated, it gets the same answer."""
        ...

    async def abort(self, request: Order, /) -> Nothing:
        """The source runs the VM: what waits here is ended. `Unresolved` if it was told to run."""
        ...

    async def take_belongings(self, request: Belongings, /) -> Nothing:
        """The destination's kernel knows that too, from now on or from when the VM runs there."""
        ...

    async def heard(self, request: Order, /) -> Heard:
        """What came to the destination so far. Changes nothing."""
        ...

    async def relay_ended(self, request: Order, /) -> Nothing:
        """The source relays no more: the destination's end of it is gone, and announcing ends."""
        ...

    async def vm_is_off(self, request: Order, /) -> Nothing:
        """The VM that came by that move was switched off: a relay to it is gone, witnessed or not."""
        ...

    async def end_relay(self, request: Order, /) -> Nothing:
        """The VM is about to move on: a relay that was witnessed is gone; one that was not stays."""
        ...
