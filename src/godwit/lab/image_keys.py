"""The two SSH key pairs of an image: the guest's own, and the one that opens it."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from godwit.lab.image_cpio import Entry, directory


@dataclass(frozen=True)
class SshKeys:
    """A client's private key as OpenSSH reads it, and the guest's files that belong to it."""

    client_private: bytes
    guest_files: dict[str, Entry]


def new_ssh_keys() -> SshKeys:
    """Two fresh ed25519 key pairs; the guest lets the client in as root."""
    client = Ed25519PrivateKey.generate()
    authorized = client.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" godwit lab\n"
    private = stat.S_IFREG | 0o600
    return SshKeys(
        client_private=client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        guest_files={
            "root": directory(0o700),
            "root/.ssh": directory(0o700),
            "root/.ssh/authorized_keys": Entry(authorized, private),
            "etc/dropbear_ed25519_host_key": Entry(_for_dropbear(Ed25519PrivateKey.generate()), private),
        },
    )


def _for_dropbear(key: Ed25519PrivateKey) -> bytes:
    """Dropbear's own format: the type, then the private and the public half, each part after its length."""
    halves = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", halves))
