"""One VM on this host: what is known of it, where its files lie, and whether it may run here."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from godwit.agent.owner import Owner
from godwit.contract.host import PrepareIncoming, PrepareOutgoing
from godwit.core.config import AgentConfig, Waits
from godwit.core.errors import Failed
from godwit.core.model import MacAddress, Pinned, Value, VmSpec, VmState, VmStatus
from godwit.core.ownership import Ownership
from godwit.network import switches
from godwit.network.switch import Kind, Switch
from godwit.qemu.machine import Machine

AT_HOME = frozenset({Ownership.own, Ownership.running})
"""Owned, and not on its way out."""
LOOK_S = 0.05


class Plug(Value):
    """A tap and where it is plugged."""

    tap: str
    bridge: str
    mac: MacAddress
    kind: Kind = Kind.linux_bridge
    vlan: int | None = None

    @property
    def switch(self) -> Switch:
        """Where it is plugged."""
        return switches.known(self.kind, self.bridge, self.vlan)


class Passport(Value):
    """What an agent must know of a VM after its own restart; lies beside the journal."""

    spec: VmSpec
    pinned: Pinned
    plugs: tuple[Plug, ...] = ()
    incoming: PrepareIncoming | None = None
    """The order by which it came, or is to come."""
    relayed: PrepareIncoming | None = None
    """The order by which it came, while its old host may still relay its frames."""
    uri: str = ""
    """Where its QEMU listens for memory."""
    outgoing: PrepareOutgoing | None = None
    """The order by which it is to go."""


@dataclass(frozen=True)
class Place:
    """Where the files of one VM lie on this host."""

    state_dir: Path
    run_dir: Path

    @classmethod
    def of(cls, config: AgentConfig, name: str) -> Place:
        """The directories of that VM; neither has to exist."""
        return cls(config.state_dir / "vms" / name, config.run_dir / "vms" / name)

    @property
    def journal(self) -> Path:
        """Who owns the VM, as far as this host knows."""
        return self.state_dir / "journal"

    @property
    def passport(self) -> Path:
        """What the VM is."""
        return self.state_dir / "vm.json"

    @property
    def relay(self) -> Path:
        """What the last relay of its frames was, or is."""
        return self.state_dir / "relay.json"

    def write_passport(self, passport: Passport) -> None:
        """The passport is there, whole; `Failed`, and the old one stays, on a full disk."""
        draft = self.passport.with_suffix(".new")
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            draft.write_text(passport.model_dump_json(indent=1))
            os.replace(draft, self.passport)
        except OSError as error:
            why = f"{self.passport} cannot be written: {error.strerror}; make room on that disk"
            raise Failed(why, "disk-full") from error

    def read_passport(self) -> Passport | None:
        """The passport, if there is one."""
        return Passport.model_validate_json(self.passport.read_text()) if self.passport.exists() else None


@dataclass
class LocalVm:
    """A VM whose QEMU is, or just was, on this host."""

    passport: Passport
    owner: Owner
    machine: Machine
    state: VmState = VmState.starting
    exit_status: int | None = None
    stopping: bool = field(default=False)
    """Somebody ordered its end, so its end is no crash."""
    waits: Waits = field(default_factory=Waits)
    alarm: str = ""
    """What a person must look at."""

    @property
    def name(self) -> str:
        """The VM's."""
        return self.passport.spec.name

    @property
    def is_alive(self) -> bool:
        """It has a QEMU."""
        return self.state not in {VmState.stopped, VmState.crashed}

    async def found_again(self) -> None:
        """Its keeper answers, after it was lost and replaced, or QEMU is gone as well."""
        while self.machine.monitor.closed.done() and not self.machine.gone.is_set():  # noqa: ASYNC110 - two ways out
            await asyncio.sleep(LOOK_S)

    def status(self) -> VmStatus:
        """What others are told."""
        alive = self.is_alive
        return VmStatus(
            name=self.name,
            state=self.state,
            owned=self.owner.is_owner,
            keeper_pid=self.machine.keeper_pid if alive else None,
            qemu_pid=self.machine.qemu_pid if alive else None,
            memory_mib=self.passport.spec.memory_mib if alive else 0,
            exit_status=self.exit_status,
        )
