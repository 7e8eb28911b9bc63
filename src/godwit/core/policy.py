"""What a VM's owner allows: a few rules, each a word or `WORD=VALUE` as a person writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError

from godwit.core.errors import Invalid
from godwit.core.model import Name, Value
from godwit.core.wording import wrong

ALLOWED = "never-migrate, keep-apart=GROUP, max-stall=TIME such as 5s or 300ms"

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


class Policy(Value):
    """Nothing is forbidden by default."""

    never_migrate: bool = False
    keep_apart: tuple[Name, ...] = ()
    """Groups: two VMs of one group are kept on different hosts."""
    max_stall_ms: int | None = Field(default=None, ge=1)
    """The guest must not stand still for longer."""

    @property
    def words(self) -> tuple[str, ...]:
        """As `parse` takes them."""
        never = ("never-migrate",) if self.never_migrate else ()
        stall = (f"max-stall={self.max_stall_ms}ms",) if self.max_stall_ms else ()
        return (*never, *(f"keep-apart={group}" for group in self.keep_apart), *stall)


def parse(words: Iterable[str]) -> Policy:
    """The policy of these rules; `Invalid` names the one that is none."""
    fields: dict[str, Any] = {}
    apart: list[str] = []
    for word in words:
        name, _, value = word.partition("=")
        time = _TIME.fullmatch(value)
        if word == "never-migrate":
            fields["never_migrate"] = True
        elif name == "keep-apart" and value:
            apart.append(value)
        elif name == "max-stall" and time:
            fields["max_stall_ms"] = round(float(time[1]) * (1000 if time[2] == "s" else 1))
        else:
            raise Invalid(f"{word!r} is no rule for a VM: write {ALLOWED}", "rule")
    try:
        return Policy(**fields, keep_apart=tuple(dict.fromkeys(apart)))
    except ValidationError as error:
        raise Invalid(f"{', '.join(words)}: {wrong(error.errors()[0])}; write {ALLOWED}", "rule") from None


class Known(Value):
    """What the manager knows of a move that no host can tell."""

    policy: Policy = Policy()
    neighbours: tuple[Name, ...] = ()
    """VMs at the destination from which this one is to be kept apart."""
    recent_moves: int = 0
    """Of this VM, within the last three minutes."""
    units: tuple[str, ...] = ()
    """Units of iSCSI targets that are some VM's, by their URLs."""
    is_rehearsal: bool = False
    """The VM is a throw-away one."""
    sharers: tuple[Name, ...] = ()
    """Other VMs that have a disk of this one."""
    movers: tuple[Name, ...] = ()
    """Other VMs that are being moved from or to one of its two hosts."""
