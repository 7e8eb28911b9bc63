"""Which attempt of which migration an order belongs to, which VM, and the message that says nothing."""

from __future__ import annotations

from godwit.core.model import Name, Value


class Nothing(Value):
    """No words are needed."""


class Order(Value):
    """Which attempt of which migration of which VM an order belongs to."""

    migration: str
    attempt: int
    epoch: int
    vm: Name

    def order(self) -> Order:
        """The bare order within any request that carries one."""
        return Order(**{name: getattr(self, name) for name in Order.model_fields})


class VmRef(Value):
    """Names a VM."""

    name: Name
