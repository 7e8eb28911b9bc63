"""A VM in a YAML file: the REST API's names, and mistakes with their line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.cli.spec import read_spec, schema
from godwit.core.errors import Invalid
from godwit.core.resources import NicRequest, VmRequest

SPEC = """\
name: web-1
memory_mib: 256
nics:
  - network: lan
    ip: 10.90.0.60/24
  - {network: dmz}
root_disk:
  size_bytes: 1073741824
cloud_init:
  user: ada
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "web.yaml"


def test_the_names_are_those_of_the_api(file: Path) -> None:
    file.write_text(SPEC)
    request = read_spec(file)

    assert request.nics == (NicRequest(network="lan", ip="10.90.0.60/24"), NicRequest(network="dmz"))
    assert request.root_disk is not None
    assert request.root_disk.size_bytes == 1 << 30
    assert VmRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("memory_mib", "memory", ":2: memory is not known; allowed there are name, image, memory_mib, cpus,"),
        ("ip:", "addr:", ":5: nics.0.addr is not known; allowed there are network, ip, ip6, mac"),
        ("{network: dmz}", "{network: dmz, x: 1}", ":6: nics.1.x is not known"),
        ("user:", "users:", ":10: cloud_init.users is not known; allowed there are user, ssh_keys, gateways,"),
        ("256", "lots", ":2: memory_mib is 'lots': write a whole number"),
        ("name: web-1\n", "", ":1: name is missing"),
        ("network: lan", "net: lan", ":4: nics.0.network is missing"),
        (SPEC, "", ":1: it does not describe a VM: write at least name; allowed are name, image,"),
        (SPEC, "- name: web-1", ":1: it does not describe a VM"),
        (SPEC, "name: [", " is no YAML: while parsing"),
        (SPEC, "name: !!python/name:os.system", " is no YAML: could not determine a constructor"),
    ],
)
def test_a_mistake_is_named_with_its_place(file: Path, old: str, new: str, sentence: str) -> None:
    file.write_text(SPEC.replace(old, new, 1))
    with pytest.raises(Invalid) as raised:
        read_spec(file)
    assert raised.value.message.startswith(f"{file}{sentence}")


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(Invalid, match=r"web.yaml cannot be read: No such file or directory"):
        read_spec(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match=r"web.yaml cannot be read: it is no text"):
        read_spec(file)


def test_the_schema_knows_every_key() -> None:
    assert set(schema()["properties"]) == set(VmRequest.model_fields)
    assert json.loads(json.dumps(schema())) == schema()
