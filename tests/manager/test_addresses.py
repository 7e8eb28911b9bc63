"""Addresses for new network cards."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.errors import Invalid, Refused
from godwit.core.model import Nic
from godwit.core.resources import NicRequest
from godwit.manager.addresses import free_mac, make_nic, next_free, parse_pool

POOL = "10.90.0.100-10.90.0.102/24"


def nic(*, taken: tuple[Nic, ...] = (), pool: str | None = POOL, **words: str) -> Nic:
    return make_nic(NicRequest(network="lan", **words), pool=pool, taken=taken, numbers=range(3))


def test_the_lowest_free_address_of_the_pool_is_taken() -> None:
    first = nic()
    second = nic(taken=(first,))
    assert [str(first.ip), str(second.ip)] == ["10.90.0.100/24", "10.90.0.101/24"]
    assert [first.mac, second.mac] == ["52:54:00:00:00:00", "52:54:00:00:00:01"]


def test_what_is_named_is_taken() -> None:
    card = nic(ip="10.90.0.7/16", ip6="fd00::7/64", mac="52:54:00:aa:bb:cc")
    assert (str(card.ip), str(card.ip6), card.mac) == ("10.90.0.7/16", "fd00::7/64", "52:54:00:aa:bb:cc")


def test_an_address_without_a_prefix_length_has_that_of_the_pool() -> None:
    assert str(nic(ip="10.90.0.7").ip) == "10.90.0.7/24"
    with pytest.raises(Invalid, match=r"'10\.90\.0\.7' is no address with a prefix length"):
        nic(pool=None, ip="10.90.0.7")


def test_a_network_without_pool_gives_no_address() -> None:
    assert nic(pool=None).ip is None


def test_addresses_of_other_networks_do_not_count() -> None:
    other = Nic(network="other", mac="52:54:00:00:00:09", ip="10.90.0.100/24")
    assert str(nic(taken=(other,)).ip) == "10.90.0.100/24"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"ip": "10.90.0.100/24"}, r"10\.90\.0\.100 is in use on network lan"),
        ({"ip6": "fd00::1/64"}, "fd00::1 is in use on network lan"),
        ({"mac": "52:54:00:00:00:00"}, "MAC address 52:54:00:00:00:00 is in use"),
        ({"ip": "10.90.0"}, r"'10\.90\.0' is no address with a prefix length: write it like 10\.90\.0\.7/24"),
        ({"ip6": "10.90.0.1"}, r"'10\.90\.0\.1' is no address with a prefix length: write it like fd00::7/64"),
        ({"ip6": "fd00::2"}, "'fd00::2' is no address with a prefix length"),
    ],
)
def test_what_cannot_be_given_is_refused(words: dict[str, str], sentence: str) -> None:
    first = nic(ip6="fd00::1/64")
    with pytest.raises(Refused, match=sentence):
        nic(taken=(first,), **words)


def test_an_empty_pool_is_refused() -> None:
    taken: tuple[Nic, ...] = ()
    for _ in range(3):
        taken = (*taken, nic(taken=taken))
    with pytest.raises(Refused, match="all addresses of network lan"):
        nic(taken=taken)


def test_without_a_free_mac_it_is_refused() -> None:
    with pytest.raises(Refused, match="no MAC address is free"):
        free_mac(range(1), {"52:54:00:00:00:00"})


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1-x/24", "10.0.0.9-10.0.0.1/24", "10.0.0.1-10.0.1.1/24"])
def test_a_pool_in_wrong_words_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        parse_pool(text)


@given(st.text())
def test_any_text_is_a_pool_or_invalid(text: str) -> None:
    with suppress(Invalid):
        parse_pool(text)


@given(st.sets(st.integers(100, 109)))
def test_the_free_address_is_free_and_of_the_pool(used: set[int]) -> None:
    taken = {IPv4Address(f"10.90.0.{each}") for each in used}
    free = next_free(parse_pool("10.90.0.100-10.90.0.109/24"), taken)
    if free is None:
        assert len(used) == 10
    else:
        assert free.ip not in taken
        assert 100 <= free.ip.packed[3] <= 109
