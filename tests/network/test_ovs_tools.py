"""What Open vSwitch's database says of a bridge, as its own tool prints it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from godwit.network.groups import Group
from godwit.network.ovs_groups import in_table
from godwit.network.ovs_tools import OvsPort, described

SET, BRIDGE, BOND, VM = '["set",[]]', '["uuid","b0"]', '["uuid","b1"]', '["uuid","b2"]'
TABLES = "\n".join(
    (
        f'{{"headings":["name","ports","datapath_type","stp_enable","rstp_enable","mcast_snooping_enable"],"data":[["br0",'
        f'["set",[{BRIDGE},{BOND},{VM}]],"netdev",false,true,false]]}}',
        f'{{"headings":["_uuid","name","tag","trunks","vlan_mode","interfaces"],"data":[[{BRIDGE},"br0",{SET},{SET},{SET},'
        f'["uuid","i0"]],[{BOND},"bond0",10,["set",[20,30]],"native-untagged",["set",[["uuid","i1"],["uuid","i2"]]]],'
        f'[{VM},"gx-1",10,{SET},{SET},["uuid","i3"]],[["uuid","b9"],"elsewhere",{SET},{SET},{SET},["uuid","i9"]]]}}',
        '{"headings":["_uuid","name","type","ofport"],"data":[[["uuid","i0"],"br0","internal",65534],[["uuid","i1"],"eth0"'
        ',"",1],[["uuid","i2"],"eth1","system",2],[["uuid","i3"],"gx-1","",3],[["uuid","i9"],"tun0","vxlan",4]]}',
    )
)


def test_a_bridge_is_its_ports_without_its_own() -> None:
    bridge = described(TABLES)

    assert bridge is not None
    assert (bridge.name, bridge.has_stp, bridge.in_user_space, bridge.snoops) == ("br0", True, True, False)
    assert bridge.ports == (
        OvsPort("bond0", ("eth0", "eth1"), "native-untagged", 10, frozenset({20, 30})),
        OvsPort("gx-1", ("gx-1",), "access", 10),
    )


def test_what_is_not_there_is_none() -> None:
    empty = '{"headings":["name"],"data":[]}'
    assert described("\n".join([empty] * 3)) is None


@pytest.mark.parametrize(
    ("port", "vlan", "carries", "tag"),
    [
        (OvsPort("p", ()), 0, True, None),
        (OvsPort("p", ()), 10, True, 10),
        (OvsPort("p", (), trunks=frozenset({10})), 10, True, 10),
        (OvsPort("p", (), trunks=frozenset({10})), 20, False, 20),
        (OvsPort("p", (), "access", 10), 10, True, None),
        (OvsPort("p", (), "access", 10), 0, False, None),
        (OvsPort("p", (), "native-untagged", 10, frozenset({20})), 10, True, None),
        (OvsPort("p", (), "native-untagged", 10, frozenset({20})), 20, True, 20),
        (OvsPort("p", (), "native-tagged", 10, frozenset({20})), 10, True, 10),
    ],
)
def test_a_port_carries_a_vlan_with_or_without_its_tag(
    port: OvsPort, vlan: int, carries: bool, tag: int | None
) -> None:
    assert port.carries(vlan) is carries
    assert not carries or port.tags(vlan) == tag


def test_groups_are_those_of_the_port_and_queriers_are_none() -> None:
    table = (
        " port  VLAN  GROUP                Age\n"
        "    2    10  239.1.2.3            4\n"
        "    3    10  239.1.2.4            4\n"
        "    2    10  ff05::7              9\n"
        "    2    10  querier            255\n"
    )

    assert in_table(table, "2") == (Group(ip_address("239.1.2.3")), Group(ip_address("ff05::7")))
