from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from godwit.core.errors import Invalid
from godwit.lab.settings import QEMU_IN_TREE, Settings, parse_qemu, rate_bits_per_s


@pytest.mark.parametrize(
    ("rate", "bits"), [("1gbit", 10**9), ("100mbit", 10**8), ("64kbit", 64_000), ("unlimited", None)]
)
def test_rate_is_read_as_bits_per_second(rate: str, bits: int | None) -> None:
    assert rate_bits_per_s(rate) == bits


@pytest.mark.parametrize("rate", ["fast", "0gbit", "1gb", "1 gbit", "-1mbit", ""])
def test_other_rates_are_refused(rate: str) -> None:
    with pytest.raises(ValidationError):
        Settings(rate=rate)


@pytest.mark.parametrize("hosts", [1, 9])
def test_a_lab_has_two_to_eight_hosts(hosts: int) -> None:
    with pytest.raises(ValidationError):
        Settings(hosts=hosts)


def test_hosts_are_lettered() -> None:
    assert Settings(hosts=3).host_names == ("host-a", "host-b", "host-c")


def test_a_qemu_for_a_host_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no host-c"):
        Settings(hosts=2, qemu={"host-c": Path("/opt")})


def test_qemu_options_name_a_host_and_a_tree(tmp_path: Path) -> None:
    program = tmp_path / QEMU_IN_TREE
    program.parent.mkdir(parents=True)
    program.touch()
    assert parse_qemu([f"host-b={tmp_path}"]) == {"host-b": tmp_path}


@pytest.mark.parametrize("option", ["/opt/qemu", "host-b=", "b=/opt", "host-b=/does/not/exist"])
def test_other_qemu_options_are_refused_by_name(option: str) -> None:
    with pytest.raises(Invalid, match="--qemu"):
        parse_qemu([option])
