"""The causes that a diagnosis can name: how bad each is, what follows from it, and what to change on which switch."""

from __future__ import annotations

from dataclasses import dataclass

from godwit.diagnosis.finding import Advice, Severity

TEAMING = "vSphere Networking, Teaming and Failover Policy (GUID-4D97C749-1FFD-403D-B2AE-0CD0F1C70E2B)"
IP_HASH = "vSphere Networking, Route Based on IP Hash (GUID-523FDFBD-EAEC-44A5-9451-F63EB792F156)"
SECURITY = "vSphere Networking, security policy (GUID-891147DD-3E2E-45A1-9B50-7717C3443DD7)"
HEALTH = "vSphere Distributed Switch health check (Broadcom 318971)"


@dataclass(frozen=True)
class Cause:
    """One row of the table."""

    severity: Severity
    advice: Advice
    explains: frozenset[str] = frozenset()
    """Findings of the same move that follow from this one and are told with it."""


_SUFFERED = frozenset({"vm-silent", "connection-reset", "connection-stalled", "long-silence", "heartbeat-exceeded"})
_UNREACHED = _SUFFERED | {"no-announcement", "announcement-late", "large-frames-lost"}

CAUSES: dict[str, Cause] = {
    "segment-split": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="give the uplink of the new host the VLAN of the old one: compare `bridge vlan show` and"
            " `ip -d link` on both hosts, and the bridge that the VM is plugged into",
            open_vswitch="compare `ovs-vsctl list port` (tag, trunks) of the uplink and of the VM's port on both hosts",
            vsphere=f"give both hosts' port groups the same VLAN ID and turn on the health check: {HEALTH}",
            physical_switch="allow the VM's VLAN on the port of the new host, untagged or tagged as on the old one",
        ),
        _UNREACHED | {"stale-switch-entry", "port-blocked", "announcement-filtered", "vlan-mismatch"},
    ),
    "vlan-mismatch": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="plug the VM into the bridge of the same VLAN, or set the port's VLAN: `bridge vlan add dev"
            " PORT vid N pvid untagged`",
            open_vswitch="set the tag that the old host has: `ovs-vsctl set port PORT tag=N`",
            vsphere=f"set the same VLAN ID on the port group of both hosts: {HEALTH}",
            physical_switch="make the port's native VLAN and its allowed VLANs those of the old host's port",
        ),
        _UNREACHED | {"stale-switch-entry", "announcement-untagged", "port-blocked", "announcement-filtered"},
    ),
    "port-blocked": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="let the uplink carry the VM's address: look for `bridge link` flags (locked, mcast and flood"
            " off), `nft list ruleset` and `ebtables -L` between the VM and the uplink",
            open_vswitch="look for a drop in `ovs-appctl ofproto/trace BRIDGE in_port=PORT,dl_src=MAC` and for"
            " `ovs-vsctl list port` protected or vlan_mode",
            vsphere="set Forged Transmits and MAC Address Changes of the port group to Accept where the guest uses an"
            f" address of its own: {SECURITY}",
            physical_switch="raise or turn off the port's limit of MAC addresses (port security, sticky MAC, 802.1X,"
            " DHCP snooping and ARP inspection bindings), and re-enable a port that it shut",
        ),
        _UNREACHED | {"stale-switch-entry", "announcement-filtered"},
    ),
    "announcement-filtered": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="let RARP (ether type 0x8035) and broadcast ARP pass: `nft list table bridge`, `ebtables -L`,"
            " and `bridge link` for learning, bcast_flood and neigh_suppress of the ports between",
            open_vswitch="let RARP and ARP pass: `ovs-ofctl dump-flows BRIDGE` for drops of dl_type 0x8035 or 0x0806",
            vsphere=f"set Notify Switches to Yes, and look for a filter between the host and the switch: {TEAMING}",
            physical_switch="turn off what swallows RARP or learns nothing from it: ARP suppression of an EVPN fabric,"
            " storm control for broadcasts, ARP inspection without a binding for the new port",
        ),
        _UNREACHED | {"stale-switch-entry"},
    ),
    "announcement-untagged": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="send the announcement by the VLAN's own bridge, or one that is tagged: the guest's own"
            " gratuitous ARP (QEMU's announce-self) carries the tag",
            open_vswitch="set the tag on the VM's port (`ovs-vsctl set port PORT tag=N`), so that what the host sends"
            " for the VM is tagged too",
            vsphere="tag in the port group and not in the guest (VLAN 4095): the host's RARP does not know the guest's"
            f" VLAN: {TEAMING}",
            physical_switch="none: it learns the address in the VLAN in which the announcement comes",
        ),
        _SUFFERED | {"stale-switch-entry", "announcement-late"},
    ),
    "no-announcement": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="announce from the new host: QEMU's announce parameters must not be 0 rounds, or send"
            " `announce-self`; `arping -U -I BRIDGE ADDRESS` repairs it by hand",
            open_vswitch="the same; `ovs-appctl fdb/show BRIDGE` shows where the switch believes the VM to be",
            vsphere=f"set Notify Switches to Yes on the switch and on the port group: {TEAMING}",
            physical_switch="`clear mac address-table dynamic address MAC` (or the like) repairs it by hand",
        ),
        _SUFFERED | {"stale-switch-entry"},
    ),
    "announcement-late": Cause(
        Severity.warning,
        Advice(
            linux_bridge="announce as soon as the VM runs, and repeat: QEMU's announce-initial 50 ms or less; the"
            " uplink must forward already (`bridge link`: state forwarding, STP off on it)",
            open_vswitch="turn spanning tree off on the VM's ports and the uplink: `ovs-vsctl set port PORT"
            " other_config:stp-enable=false`",
            vsphere=f"set the physical ports to PortFast trunk, so that they forward at once: {TEAMING}",
            physical_switch="make the hosts' ports edge ports (PortFast)",
        ),
        _SUFFERED,
    ),
    "stale-switch-entry": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="delete the static entry: `bridge fdb show | grep MAC`, then `bridge fdb del MAC dev PORT"
            " master`",
            open_vswitch="`ovs-appctl fdb/del BRIDGE MAC VLAN`, or delete the flow that sends it to the old port",
            vsphere="none in vSphere itself: its switches do not learn; look at the physical switch",
            physical_switch="delete the static or sticky entry of the VM's address, and ask whether the fabric froze it"
            " after too many moves (EVPN duplicate detection: 5 moves in 180 s)",
        ),
        _SUFFERED,
    ),
    "two-copies": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="stop one copy at once: look on both hosts for the QEMU of this VM; its disks may be damaged",
            open_vswitch="the same",
            vsphere="power off the copy that is not in the inventory; check for a clone with the same MAC address",
            physical_switch="none: two machines use one address",
        ),
        _UNREACHED | {"mac-flapping", "old-port-sends", "moved-too-often", "teaming-mismatch", "ip-conflict"},
    ),
    "teaming-mismatch": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="make both uplinks one link on both sides: a bond of mode 802.3ad with LACP on the switch, or"
            " active-backup without; balance-xor and balance-rr need a static port channel",
            open_vswitch="`ovs-vsctl set port BOND bond_mode=balance-slb` (or active-backup) without a port channel;"
            " balance-tcp needs `lacp=active` and LACP on the switch",
            vsphere="Route Based on IP Hash needs a static port channel on the physical switch; without one, take"
            f" Route Based on Originating Virtual Port: {IP_HASH}",
            physical_switch="bundle the host's ports into one port channel (static for IP hash, LACP for 802.3ad)",
        ),
        _UNREACHED | {"mac-flapping", "old-port-sends", "moved-too-often", "stale-switch-entry"},
    ),
    "mac-flapping": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="look for a loop (`bridge link`, STP), for a second machine with this address, and for two"
            " uplinks that are not one bond",
            open_vswitch="`ovs-appctl fdb/stats-show BRIDGE` counts moves; look for a loop or a bond that is none",
            vsphere=f"look at the teaming policy and the physical ports together: {TEAMING}",
            physical_switch="its log names the two ports; look for a loop behind them",
        ),
        _SUFFERED | {"old-port-sends", "moved-too-often", "stale-switch-entry"},
    ),
    "old-port-sends": Cause(
        Severity.warning,
        Advice(
            linux_bridge="find what still sends on the old host with the VM's address: its QEMU, or the bridge itself"
            " (`ip link` for an interface with that address)",
            open_vswitch="`ovs-appctl fdb/show BRIDGE` on the old host names the port",
            vsphere="look for a leftover of the VM on the old host",
            physical_switch="none: it learns the address back at each such frame",
        ),
        _SUFFERED,
    ),
    "stale-arp-entry": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="on the machine named: `ip neigh flush to ADDRESS`; a permanent entry (`ip neigh show nud"
            " permanent`) must be deleted",
            open_vswitch="the same; look also for flows that answer ARP themselves",
            vsphere="the same in the guest or router that has the entry",
            physical_switch="on a router: clear the ARP entry; shorten its time if it does not learn from gratuitous"
            " ARP",
        ),
        _SUFFERED,
    ),
    "ip-conflict": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="give one of the two machines another address",
            open_vswitch="the same",
            vsphere="the same; a clone may have kept the address of its template",
            physical_switch="proxy ARP on a router looks the same: turn it off in this segment",
        ),
        _SUFFERED,
    ),
    "large-frames-lost": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="set the MTU of bridge and uplink of the new host to that of the old one: `ip link show`",
            open_vswitch="`ovs-vsctl set interface PORT mtu_request=N`",
            vsphere=f"set the same MTU on the virtual switch of both hosts: {HEALTH}",
            physical_switch="allow frames of that size on the new host's port and on the links between",
        ),
        _SUFFERED,
    ),
    "vm-silent": Cause(
        Severity.blocker,
        Advice(
            linux_bridge="capture at the uplink of the host that runs the VM as well, and give both files to this"
            " command: whether its frames leave there decides where to look",
            open_vswitch="the same",
            vsphere="the same, with `pktcap-uw --uplink vmnicN --dir 2 -o FILE`",
            physical_switch="the same, at a mirror of the host's port",
        ),
        frozenset({"connection-reset", "connection-stalled", "heartbeat-exceeded", "no-announcement"}),
    ),
    "long-silence": Cause(
        Severity.warning,
        Advice(
            linux_bridge="the VM itself stood still, the network was ready when it came back: ask for a shorter"
            " blackout (`godwit migrate --max-blackout`), or give the migration a faster link",
            open_vswitch="the same",
            vsphere="the same: a stun of seconds means memory that changes faster than it can be copied",
            physical_switch="none",
        ),
        frozenset({"connection-stalled", "heartbeat-exceeded", "connection-reset"}),
    ),
    "heartbeat-exceeded": Cause(
        Severity.warning,
        Advice(
            linux_bridge="raise the cluster's limit above the silence, or ask for a shorter blackout",
            open_vswitch="the same",
            vsphere="for Windows clusters VMware advises SameSubnetThreshold 10 or more (vSphere 7.0,"
            " GUID-6AA6AECB-73D3-4B0F-9CAA-D5F9446D3601)",
            physical_switch="none",
        ),
    ),
    "connection-reset": Cause(
        Severity.warning,
        Advice(
            linux_bridge="look for a firewall on the new host that does not know the connection (`conntrack -L`,"
            " `nft list ruleset`): connection tracking does not move by itself",
            open_vswitch="look for `ct()` in `ovs-ofctl dump-flows`: its state stays on the old host",
            vsphere="look at the distributed firewall's rules and its log",
            physical_switch="a firewall or load balancer between, which saw only half of the connection",
        ),
    ),
    "connection-stalled": Cause(
        Severity.warning,
        Advice(
            linux_bridge="capture at the uplinks of both hosts and give all files to this command",
            open_vswitch="the same",
            vsphere="the same",
            physical_switch="the same",
        ),
    ),
    "moved-too-often": Cause(
        Severity.warning,
        Advice(
            linux_bridge="wait: at most 3 moves of one VM in 180 s",
            open_vswitch="the same",
            vsphere="the same; look at what triggers the moves (DRS threshold)",
            physical_switch="an EVPN fabric freezes an address after 5 moves in 180 s (RFC 7432, 15.1): clear the"
            " duplicate there",
        ),
    ),
}
