"""gRPC as godwit uses it: quiet, impatient, and with certificates on both sides; others import `grpc` from here."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log on stderr repeats what our errors say, in its own words
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # its fork handlers stall programs that start others

import grpc as grpc  # again as itself: others take it from here
import grpc.aio
from cryptography import x509
from cryptography.x509.oid import NameOID

from godwit.core.config import Tls
from godwit.core.errors import Failed
from godwit.rpc.wire import MESSAGE_BYTES_MAX

untyped: Any = grpc
"""For those of its functions that carry no types."""

_BOTH = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # a peer whose host died is noticed after 15 s; less would mistake a busy host for a dead one
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS = (
    *_BOTH,
    ("grpc.so_reuseport", 0),  # two agents on one port must collide, not share the calls
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)

CHANNEL_OPTIONS = (
    *_BOTH,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # in fact the time that one attempt to connect may take
    ("grpc.use_local_subchannel_pool", 1),  # each channel is a TCP connection of its own
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


def credentials_of_server(tls: Tls) -> grpc.ServerCredentials:
    """Mutual TLS; `Failed` names the file that is missing or does not fit."""
    ca, certificate, key = _read(tls)
    made = untyped.ssl_server_credentials([(key, certificate)], root_certificates=ca, require_client_auth=True)
    return cast(grpc.ServerCredentials, made)


def credentials_of_channel(tls: Tls) -> grpc.ChannelCredentials:
    """Mutual TLS; `Failed` names the file that is missing or does not fit."""
    ca, certificate, key = _read(tls)
    made = untyped.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)
    return cast(grpc.ChannelCredentials, made)


def common_name(tls: Tls) -> str:
    """Whom our own certificate names: `manager` or `agent.HOST`."""
    certificate = x509.load_pem_x509_certificate(_bytes(tls.certificate))
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _read(tls: Tls) -> tuple[bytes, bytes, bytes]:
    ca, certificate, key = _bytes(tls.ca), _bytes(tls.certificate), _bytes(tls.key)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=ca.decode("ascii"))
        context.load_cert_chain(tls.certificate, tls.key)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise Failed(
            f"{tls.ca}, {tls.certificate} and {tls.key} are not a certificate authority, a certificate and its key; "
            "make them again with `godwit pki issue`"
        ) from error
    return ca, certificate, key


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"{path} cannot be read ({error.strerror}); make it with `godwit pki issue`") from error
