"""Whose group it is in which QEMUs agree on a key."""

from __future__ import annotations

from base64 import b64decode

from godwit.qemu.secrecy import GROUP


def floor_of_e(bits: int) -> int:
    """The whole part of 2^bits e."""
    total, term, count = 0, 1 << (bits + 64), 0
    while term:
        total, count = total + term, count + 1
        term //= count
    return total >> 64


def test_the_group_is_that_of_the_rfc() -> None:
    """RFC 7919, A.1: p = 2^2048 - 2^1984 + (floor(2^1918 e) + 560316) 2^64 - 1, and g = 2; as PKCS #3 has it."""
    prime = 2**2048 - 2**1984 + ((floor_of_e(1918) + 560316) << 64) - 1
    _, *lines, _ = GROUP.splitlines()

    numbers = bytes.fromhex("02820101") + prime.to_bytes(257, "big") + bytes.fromhex("020102")
    assert b64decode("".join(lines)) == b"\x30\x82" + len(numbers).to_bytes(2, "big") + numbers
