"""What people write on the command line, as the requests of the REST API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from godwit.cli.units import parse_bytes_per_s, parse_mib, parse_ms, parse_s
from godwit.core.errors import Invalid
from godwit.core.migration import MigrationRequest
from godwit.core.resources import NicRequest, VmRequest

T = TypeVar("T")


def vm_request(words: Mapping[str, Any], *, memory: str, networks: Sequence[str], ip: str | None) -> VmRequest:
    """A VM to make; `Invalid` says which word is wrong."""
    if ip and not networks:
        raise Invalid("--ip needs a network card: name its network with --network")
    nics = _made(lambda: [NicRequest(network=name, ip=None if n else ip) for n, name in enumerate(networks)])
    return _made(lambda: VmRequest(**words, memory_mib=parse_mib(memory), nics=tuple(nics)))


def migration_requests(
    vms: str, host: str | None, *, max_blackout: str, deadline: str | None, bandwidth: str | None
) -> list[MigrationRequest]:
    """One request for each VM of a list with commas; `Invalid` says which word is wrong."""
    goals = {
        "destination": host,
        "max_blackout_ms": parse_ms(max_blackout),
        "deadline_s": parse_s(deadline) if deadline else None,
        "bandwidth_bytes_per_s": parse_bytes_per_s(bandwidth) if bandwidth else None,
    }
    names = vms.split(",")
    if len(set(names)) < len(names):
        raise Invalid(f"{vms!r} names a VM twice: name each one once")
    return [_made(lambda name=name: MigrationRequest(vm=name, **goals)) for name in names]  # type: ignore[misc]


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"])
        raise Invalid(f"{place} {first['input']!r}: {first['msg']}") from None
