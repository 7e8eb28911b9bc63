"""Makes the empty QEMU that waits for a VM."""

from __future__ import annotations

from godwit.agent.incoming import Incoming
from godwit.agent.launching import end, launch
from godwit.agent.local import LocalVm, Passport, Place, Plug
from godwit.agent.vms import Vms, process_of
from godwit.contract.host import PrepareIncoming
from godwit.core.config import AgentConfig
from godwit.core.model import VmState
from godwit.core.ownership import Cue
from godwit.network import ring, tunnel
from godwit.qemu import memory, secrecy, sockets


async def arrive(vms: Vms, request: PrepareIncoming) -> Incoming:
    """A QEMU listens for that VM with its taps muted, and the journal says ARMED. On failure nothing of it is left."""
    name, place = request.vm, Place.of(vms.config, request.vm)
    vms.claim(name)
    try:
        machine, plugs = await launch(
            vms.config,
            place,
            spec=request.spec,
            pinned=request.pinned,
            incoming=True,
            generation=f"{request.migration}.{request.attempt}",
        )
        try:
            address = vms.config.migration_address
            if request.tls:
                at = secrecy.place_of(machine.run_dir, "server", request.migration, request.attempt)
                await secrecy.use_key(machine.monitor, at, secrecy.make_key(), endpoint="server")
            uri = await memory.prepare_receiver(
                machine.monitor, address=address, multifd=request.multifd, compression=request.compression
            )
            if request.near:
                await sockets.keep_listener_short(machine.qemu_pid, uri, buffer_bytes=request.buffer_bytes)
            passport = Passport(spec=request.spec, pinned=request.pinned, plugs=plugs, incoming=request, uri=uri)
            place.write_passport(passport)
            vm = LocalVm(passport, vms.owner(name), machine, VmState.migrating, waits=vms.config.waits)
            await _receive_relay(vms.config, request, plugs)
            vm.owner.take(
                Cue.armed,
                migration=request.migration,
                epoch=request.epoch,
                count=0,
                peer=request.source,
                **process_of(machine),
            )
            incoming = Incoming(vms, vm, request)
            await incoming.listen()
        except BaseException:
            for plug in plugs:
                await tunnel.close(tunnel.inbound_name(plug.tap))
            place.passport.unlink(missing_ok=True)
            await end(machine, plugs)
            raise
    finally:
        vms.unclaim(name)
    vms.welcome(vm)
    return incoming


async def _receive_relay(config: AgentConfig, request: PrepareIncoming, plugs: tuple[Plug, ...]) -> None:
    """What the source relays goes into the taps, past a frame that QEMU may lose."""
    for index, plug in enumerate(plugs):
        await tunnel.open_destination_end(
            tunnel.inbound_name(plug.tap),
            tap=plug.tap,
            mac=plug.mac,
            vni=tunnel.tunnel_id(request.migration, index),
            ends=(config.migration_address, request.source_address),
        )
        ring.sacrifice(plug.tap)
