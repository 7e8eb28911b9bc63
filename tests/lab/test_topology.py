from __future__ import annotations

from godwit.lab.settings import Settings
from godwit.lab.topology import LAN, MIGRATION, NETS, STORAGE, Kind, Node, Topology, cables, interfaces


def plan(**settings: object) -> Topology:
    return Topology(Settings.model_validate(settings))


def node(topology: Topology, name: str) -> Node:
    return next(node for node in topology.nodes if node.name == name)


def test_two_hosts_make_seven_nodes() -> None:
    names = [node.name for node in plan().nodes]
    assert names == ["client", "lan-switch", "migration-switch", "control-switch", "manager", "host-a", "host-b"]


def test_addresses() -> None:
    topology = plan()
    assert node(topology, "client").addresses == {"lan": "10.90.0.2", "lan6": "fd90::2"}
    assert node(topology, "manager").addresses == {"control": "10.91.0.2"}
    assert node(topology, "host-a").addresses == {"control": "10.91.0.11", "migration": "10.92.0.11"}
    assert node(topology, "lan-switch").addresses == {}


def test_no_two_nodes_share_an_address_or_a_mac() -> None:
    nodes = plan(hosts=8).nodes
    addresses = [address for node in nodes for address in node.addresses.values()]
    macs = [node.mac(net) for node in nodes for net in node.nets]
    assert len(set(addresses)) == len(addresses) == 2 + 1 + 8 * 2
    assert len(set(macs)) == len(macs) == 1 + 1 + 8 * 3


def test_every_node_but_a_switch_has_a_cable_per_network() -> None:
    topology = plan()
    pids = {node.name: number for number, node in enumerate(topology.nodes, start=100)}
    lines = cables(topology, pids).splitlines()
    assert len(lines) == 1 + 1 + 2 * len(NETS)
    assert (
        "link add name mig0 address 02:00:0a:5c:00:0b mtu 1600 netns 105 type veth peer name host-a mtu 1600 netns 102"
        in lines
    )


def test_a_host_is_a_bridge_in_the_lan_and_has_no_address_there() -> None:
    text = interfaces(plan(), node(plan(), "host-a"))
    assert "link add name br-lan address 02:00:0a:5a:00:0b mtu 1500 type bridge stp_state 0\n" in text
    assert "link set dev lan0 master br-lan\n" in text
    assert "address add 10.92.0.11/24 dev mig0\n" in text
    assert LAN.prefix not in text


def test_only_the_client_has_ipv6_of_its_own() -> None:
    topology = plan()
    for each in topology.nodes:
        text = interfaces(topology, each)
        ended = {line.split()[3] for line in text.splitlines() if line.endswith("addrgenmode none")}
        raised = {line.split()[3] for line in text.splitlines() if line.endswith(" up")} - {"lo"}
        assert raised - ended == ({"lan0"} if each.kind is Kind.client else set())


def test_a_switch_has_a_port_per_cable_and_the_mtu_of_its_network() -> None:
    topology = plan(hosts=3)
    text = interfaces(topology, node(topology, MIGRATION.switch))
    assert "link add name br0 mtu 1600 type bridge stp_state 0\n" in text
    assert [line.split()[3] for line in text.splitlines() if "master br0" in line] == ["host-a", "host-b", "host-c"]


def test_a_storage_node_has_a_network_of_its_own_with_every_host() -> None:
    topology = plan(storage_node=True)
    assert [each.name for each in topology.nodes if each.kind is Kind.storage] == ["storage"]
    assert node(topology, "storage").addresses == {"storage": "10.93.0.3"}
    assert node(topology, "host-a").addresses["storage"] == "10.93.0.11"
    assert [each.name for each in topology.plugged_into(STORAGE)] == ["storage", "host-a", "host-b"]
    assert "address add 10.93.0.11/24 dev sto0\n" in interfaces(topology, node(topology, "host-a"))
