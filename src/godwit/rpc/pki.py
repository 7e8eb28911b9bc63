"""Certificates: one authority for an installation, one certificate for each host and for the manager."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from godwit.core.config import Tls
from godwit.core.errors import Failed, Invalid, NotFound, Refused

Role = Literal["manager", "agent"]

CA_DAYS = 3650
CERTIFICATE_DAYS = 730
CLOCK_SKEW = timedelta(hours=1)
"""A host whose clock is this late still accepts a new certificate."""


@dataclass(frozen=True)
class Ca:
    """An authority: whoever holds its key may issue."""

    certificate: Path
    key: Path


def init(directory: Path) -> Ca:
    """A new authority lies in the directory (`ca.pem`, and `ca-key.pem` for the owner's eyes only).

    `Refused` if one is there already: replacing it would cut off every host that trusts it.
    """
    ca = _ca(directory)
    for path in (ca.certificate, ca.key):
        if path.exists():
            raise Refused(f"{path} exists already: name another directory, or issue from the authority that is there")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("godwit", CA_DAYS).issuer_name(_named("godwit")).public_key(key.public_key())
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _store(ca.key, _private(key), 0o600)
    _store(ca.certificate, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return ca


def issue(
    directory: Path, role: Role, *, name: str = "manager", addresses: Sequence[str] = (), out: Path | None = None
) -> Tls:
    """A new certificate lies in `out` (the authority's directory if none), good for two years, with a copy of `ca.pem`.

    It names `manager` or `agent.NAME`, and is valid as a server `NAME.agent.godwit` (`manager.godwit`) and at the IP
    addresses. One of that name that was there is replaced. `NotFound` without an authority, `Invalid` for an address.
    """
    authority, authority_key = _load(_ca(directory))
    common, server = ("manager", "manager.godwit") if role == "manager" else (f"agent.{name}", f"{name}.agent.godwit")
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [x509.DNSName(server), *(x509.IPAddress(_address(each)) for each in addresses)]
    builder = _builder(common, CERTIFICATE_DAYS).issuer_name(authority.subject).public_key(key.public_key())
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_BOTH_SIDES), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(_issued_by(authority), critical=False)
    )
    pem = builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    out = out or directory
    tls = Tls(ca=out / "ca.pem", certificate=out / f"{common}.pem", key=out / f"{common}-key.pem")
    _store(tls.ca, authority.public_bytes(serialization.Encoding.PEM), 0o644)
    _store(tls.key, _private(key), 0o600)
    _store(tls.certificate, pem, 0o644)
    return tls


_BOTH_SIDES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def _ca(directory: Path) -> Ca:
    return Ca(directory / "ca.pem", directory / "ca-key.pem")


def _load(ca: Ca) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
        key = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
    except FileNotFoundError as error:
        where = ca.key.parent
        raise NotFound(f"there is no authority in {where}: make one with `godwit pki init --dir {where}`") from error
    except OSError as error:
        raise Failed(f"{error.filename} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Failed(f"{ca.certificate} and {ca.key} are not an authority: name the directory of one") from error
    return certificate, cast(ec.EllipticCurvePrivateKey, key)


def _builder(common_name: str, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(common_name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issued_by(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid(f"{text} is not an IP address: write it like 10.0.0.5 or fd00::5") from error


def _store(path: Path, data: bytes, mode: int) -> None:
    """The file holds exactly that, or what it held before."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise Failed(f"{path} cannot be written: {error.strerror}; name another directory") from error
