"""Two hosts and a VM that check their own invariants: never two copies running, never none that could."""

from __future__ import annotations

from dataclasses import dataclass, field

from godwit.contract.host import Order, PrepareIncoming, PrepareOutgoing
from godwit.core.model import Accelerator, DatastoreFacts, HostFacts, Image, Nic, Pinned, QemuFacts, VmSpec
from godwit.testing.hosts import FakeHost

SPEC = VmSpec(
    name="web-1",
    uuid="6b1c4a52-0f3c-4b9e-9d3a-000000000001",
    memory_mib=256,
    cpus=1,
    image=Image(name="base", kernel="/images/base/vmlinuz", initrd="/images/base/initrd"),
    nics=(Nic(network="lan", mac="52:54:00:00:00:01"),),
)
PINNED = Pinned(machine="pc-q35-7.2", cpu_model="Nehalem-v1", accelerator=Accelerator.tcg)

ORDER = Order(migration="m1", attempt=1, epoch=1, vm=SPEC.name)
COMES = PrepareIncoming(
    **ORDER.model_dump(),
    spec=SPEC,
    pinned=PINNED,
    source="host-a",
    source_peer_address="192.0.2.1:7411",
    source_address="192.0.2.1",
    multifd=True,
)
"""From host-a."""
GOES = PrepareOutgoing(
    **ORDER.model_dump(),
    destination="host-b",
    peer_address="192.0.2.2:7411",
    destination_address="192.0.2.2",
    uri="tcp:192.0.2.2:4444",
    multifd=True,
    max_blackout_ms=300,
)
"""To host-b."""


def facts(host: str, *, memory_mib: int = 2048) -> HostFacts:
    """What an ordinary host says."""
    return HostFacts(
        host=host,
        agent_version="0",
        agent_pid=1,
        boot_id=f"boot-{host}",
        memory_mib=memory_mib,
        memory_free_mib=memory_mib,
        cpus=2,
        networks=("lan",),
        datastores=(DatastoreFacts(name="default", path="/datastore", shared=True, free_bytes=1 << 40),),
        migration_address="192.0.2.1",
        peer_address="192.0.2.1:7411",
        qemu=QemuFacts(
            version="7.2.0",
            machines=("pc-q35-7.2", "pc-q35-7.1"),
            cpu_models=("Nehalem-v1", "qemu64-v1"),
            accelerator=Accelerator.tcg,
        ),
    )


@dataclass
class World:
    """Hosts a and b; each fake knows the other as its peer."""

    source: FakeHost = field(default_factory=lambda: FakeHost(facts("host-a")))
    destination: FakeHost = field(default_factory=lambda: FakeHost(facts("host-b")))

    def __post_init__(self) -> None:
        self.source.peers["host-b"] = self.destination
        self.destination.peers["host-a"] = self.source
        self.destination.files = self.source.files

    @property
    def runs_on(self) -> list[str]:
        """The hosts on which the VM's vCPUs run."""
        return [each.name for each in (self.source, self.destination) if each.is_running(SPEC.name)]

    def check(self) -> None:
        """Exactly one copy runs, and it runs where the journals say."""
        assert len(self.runs_on) == 1, f"{SPEC.name} runs on {self.runs_on}"
        owners = [each.name for each in (self.source, self.destination) if each.owns(SPEC.name)]
        assert owners == self.runs_on, f"{SPEC.name} runs on {self.runs_on} and is owned by {owners}"

    def leftovers(self) -> list[str]:
        """Whatever a migration that ended should not have left."""
        return [*self.source.leftovers(), *self.destination.leftovers()]
