"""A VM that runs and shall be moved switched off: a person is asked whether it may be shut down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from godwit.core.errors import Refused
from godwit.core.model import VmState

if TYPE_CHECKING:
    from godwit.client.client import Client
    from godwit.core.migration import MigrationRequest


def agreed(client: Client, request: MigrationRequest) -> MigrationRequest:
    """The request, with leave to shut the VM down if it runs; `Refused` if nobody gave it."""
    vm = client.vm(request.vm)
    if vm.state is not VmState.running:
        return request
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            f"{vm.name} runs on {vm.host}: --yes lets it be shut down, moved and started again; nothing was touched",
            "vm-running",
        )
    print(f"{vm.name} runs on {vm.host}. Shut it down, move it and start it again? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if not sys.stdin.readline().strip().lower().startswith("y"):
        raise Refused(f"{vm.name} was left as it is: move it live without --cold, or stop it first", "vm-running")
    return request.model_copy(update={"shut_down": True})
