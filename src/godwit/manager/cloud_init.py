"""What cloud-init in a guest is told: the files of its NoCloud data source, in YAML's subset JSON."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from godwit.core.model import Nic, VmSpec
from godwit.core.resources import CloudInitRequest

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def files(spec: VmSpec, request: CloudInitRequest) -> dict[str, str]:
    """By their names. The guest is a new instance for cloud-init exactly when it is a new VM for us."""
    return {
        "meta-data": json.dumps({"instance-id": spec.uuid, "local-hostname": spec.name}),
        "user-data": "#cloud-config\n" + json.dumps(_user_data(request), indent=1),
        "network-config": json.dumps(_network(spec, request), indent=1),
    }


def _user_data(request: CloudInitRequest) -> dict[str, Any]:
    user = {
        "name": request.user,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": list(request.ssh_keys),
    }
    return {"users": [user], "manage_etc_hosts": "localhost"}


def _network(spec: VmSpec, request: CloudInitRequest) -> dict[str, Any]:
    """Version 2; a card without an address asks for one, and nothing waits for it."""
    return {"version": 2, "ethernets": {f"nic{n}": _card(nic, request) for n, nic in enumerate(spec.nics)}}


def _card(nic: Nic, request: CloudInitRequest) -> dict[str, Any]:
    match = {"match": {"macaddress": nic.mac}}
    addresses = [each for each in (nic.ip, nic.ip6) if each]
    if not addresses:
        return {**match, "dhcp4": True, "optional": True}
    gateways = [each for each in request.gateways if any(each in address.network for address in addresses)]
    card: dict[str, Any] = {**match, "addresses": [str(each) for each in addresses]}
    if gateways:
        card["routes"] = [_route(each) for each in gateways]
    if request.name_servers:
        card["nameservers"] = {"addresses": [str(each) for each in request.name_servers]}
    return card


def _route(gateway: IPv4Address | IPv6Address) -> dict[str, str]:
    return {"to": ANYWHERE[gateway.version], "via": str(gateway)}
