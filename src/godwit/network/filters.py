"""tc filters as messages to the kernel: what comes in by an interface goes out by another, or nowhere.

Each has a place of its own, so that it can be exchanged by one message and no frame finds none there. (pyroute2 knows
no programs in its filters.)
"""

from __future__ import annotations

import socket
import struct
from enum import Enum

from godwit.network.kernel_words import attribute
from godwit.network.netlink import NLM_F_CREATE, Message

INGRESS = 0xFFFFFFF2
"""Of clsact (TC_H_CLSACT, TC_H_MIN_INGRESS)."""
GATE, WAY = 10, 20
"""Priorities: who may pass, and then where to."""

_RTM_NEWTFILTER = 44
_TCMSG = struct.Struct("=BxxxiIII")
_ETH_P_ALL = 0x0003
_KIND, _OPTIONS = 1, 2
_U32_SEL, _U32_ACT = 5, 7
_U32_HANDLE = 0x800 << 20 | 0x800
_TERMINAL = 1
_ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS = 1, 2, 2
_STOLEN, _EGRESS_REDIRECT = 4, 1
_BPF_OPS_LEN, _BPF_OPS, _BPF_FLAGS, _DIRECT_ACTION = 4, 5, 8, 1
_LOAD_BYTE, _ANY_BIT, _RETURN = 0x30, 0x45, 0x06
_SHOT, _GO_ON = 2, 0xFFFFFFFF


class Gate(Enum):
    """Who may pass: classic BPF whose answer is the verdict (linux/pkt_cls.h)."""

    all = ((_RETURN, 0, 0, _GO_ON),)
    none = ((_RETURN, 0, 0, _SHOT),)
    single = ((_LOAD_BYTE, 0, 0, 0), (_ANY_BIT, 0, 1, 1), (_RETURN, 0, 0, _SHOT), (_RETURN, 0, 0, _GO_ON))
    """Nothing that is for several: neither broadcasts nor multicasts."""


def gate(index: int, who: Gate) -> Message:
    """An order: of what comes in by that interface, only these pass on."""
    program = b"".join(struct.pack("=HBBI", *each) for each in who.value)
    options = attribute(_BPF_OPS_LEN, struct.pack("=H", len(who.value))) + attribute(_BPF_OPS, program)
    options += attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    return _filter(index, (GATE, 1), "bpf", options)


def way(index: int, to: int) -> Message:
    """An order: what comes in by the first interface and passes goes out by the second."""
    mirred = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, to)
    action = attribute(_ACT_KIND, b"mirred\0") + attribute(_ACT_OPTIONS, attribute(_MIRRED_PARMS, mirred))
    selector = struct.pack("=BBBxHHhhI", _TERMINAL, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
    options = attribute(_U32_SEL, selector) + attribute(_U32_ACT, attribute(1, action))
    return _filter(index, (WAY, _U32_HANDLE), "u32", options)


def _filter(index: int, place: tuple[int, int], kind: str, options: bytes) -> Message:
    """`place` is its priority and handle."""
    priority, handle = place
    header = _TCMSG.pack(socket.AF_UNSPEC, index, handle, INGRESS, priority << 16 | socket.htons(_ETH_P_ALL))
    return (
        _RTM_NEWTFILTER,
        NLM_F_CREATE,
        header + attribute(_KIND, f"{kind}\0".encode()) + attribute(_OPTIONS, options),
    )
