"""Where a manager is, and how one speaks to it there: its unix socket, or its address with a token."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from godwit.client.lean import httpx
from godwit.core.errors import Invalid, Unreachable

CONNECT_S = 10.0
MANY = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""As many migrations as move are followed at once, each over a connection of its own."""


@dataclass(frozen=True)
class Remote:
    """A manager's REST API over TCP."""

    url: str
    """`https://host:port`."""
    token: str = field(repr=False)
    ca: Path | None = None
    """Whose certificates are believed; none: those that the system believes."""

    def __str__(self) -> str:
        return self.url

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"}


Place = Path | Remote


def http_client(place: Place, *, timeout_s: float) -> httpx.Client:
    """A client of the manager there; proxies of the environment are never used."""
    if isinstance(place, Path):  # http2, proxies and certificates have no place on a unix socket
        transport = httpx.HTTPTransport(uds=str(place), verify=False, trust_env=False, limits=MANY)
        return httpx.Client(transport=transport, base_url="http://manager", timeout=timeout_s, trust_env=False)
    return httpx.Client(
        base_url=place.url,
        headers=place.headers,
        verify=tls_context(place),
        timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
        limits=MANY,
        trust_env=False,
    )


def tls_context(place: Remote) -> ssl.SSLContext:
    """Believes what the place says to believe; `Invalid` if that cannot be read."""
    try:
        return ssl.create_default_context(cafile=str(place.ca) if place.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"the authority's certificate {place.ca} cannot be used ({error}): name the ca.pem that `godwit pki init` "
            "made, with GODWIT_CA or ca in the user's configuration",
            "certificate",
        ) from error


def unreachable(place: Place, why: str) -> Unreachable:
    """What to do when nobody answers there."""
    if isinstance(place, Path):
        return Unreachable(
            f"no manager answers at {place}: is a lab up? `godwit lab up` starts one; "
            "name another manager's socket or URL with --manager or GODWIT_MANAGER",
            "no-manager",
        )
    if "CERTIFICATE" in why:
        return Unreachable(
            f"the manager at {place} proves itself with a certificate that is not believed here ({why}): name the "
            "ca.pem that signed it with GODWIT_CA, and the address that is written in it",
            "certificate",
        )
    return Unreachable(
        f"no manager answers at {place} ({why}): start it (systemctl start godwit-manager), let its port through the "
        "firewall, or name another with --manager or GODWIT_MANAGER",
        "no-manager",
    )
