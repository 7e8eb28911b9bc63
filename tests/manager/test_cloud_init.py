"""What the guest of a disk image is told."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from godwit.core.model import Image, Nic, VmSpec
from godwit.core.resources import CloudInitRequest
from godwit.manager.cloud_init import files

KEY = "ssh-ed25519 AAAA ada@home"
SPEC = VmSpec(
    name="web-1",
    uuid="6b1c4a52-0f3c-4b9e-9d3a-000000000001",
    memory_mib=512,
    cpus=1,
    image=Image(name="/images/debian.qcow2"),
    nics=(
        Nic(
            network="lan",
            mac="52:54:00:00:00:01",
            ip=IPv4Interface("10.90.0.60/24"),
            ip6=IPv6Interface("fd00::60/64"),
        ),
        Nic(network="dmz", mac="52:54:00:00:00:02", ip=IPv4Interface("192.0.2.60/24")),
        Nic(network="any", mac="52:54:00:00:00:03"),
    ),
)
REQUEST = CloudInitRequest(
    user="ada",
    ssh_keys=(KEY,),
    gateways=(IPv4Address("10.90.0.1"), IPv6Address("fd00::1")),
    name_servers=(IPv4Address("10.90.0.2"),),
)


def test_a_new_vm_is_a_new_instance_with_its_own_name() -> None:
    assert json.loads(files(SPEC, REQUEST)["meta-data"]) == {"instance-id": SPEC.uuid, "local-hostname": "web-1"}


def test_the_user_logs_in_with_the_keys_and_no_password() -> None:
    header, _, rest = files(SPEC, REQUEST)["user-data"].partition("\n")
    (user,) = json.loads(rest)["users"]

    assert header == "#cloud-config"
    assert (user["name"], user["ssh_authorized_keys"], user["lock_passwd"]) == ("ada", [KEY], True)


def test_each_card_is_found_by_its_mac_and_a_gateway_belongs_to_the_card_that_reaches_it() -> None:
    network = json.loads(files(SPEC, REQUEST)["network-config"])

    assert network["version"] == 2
    assert network["ethernets"] == {
        "nic0": {
            "match": {"macaddress": "52:54:00:00:00:01"},
            "addresses": ["10.90.0.60/24", "fd00::60/64"],
            "routes": [{"to": "0.0.0.0/0", "via": "10.90.0.1"}, {"to": "::/0", "via": "fd00::1"}],
            "nameservers": {"addresses": ["10.90.0.2"]},
        },
        "nic1": {
            "match": {"macaddress": "52:54:00:00:00:02"},
            "addresses": ["192.0.2.60/24"],
            "nameservers": {"addresses": ["10.90.0.2"]},
        },
        "nic2": {"match": {"macaddress": "52:54:00:00:00:03"}, "dhcp4": True, "optional": True},
    }
