"""A person's terminal joined to a VM's serial console."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from godwit.client.console import Console
from godwit.core.errors import GodwitError

LEAVE = b"\x1d"
"""Ctrl-]."""
QUIET_S = 1.0
LOOKS = 10
"""After an input that is no keyboard: how long the VM must be silent, and how often that is waited for."""


def join(console: Console, *, greeting: str) -> None:
    """Returns when the person leaves, or when the console ends; raises what it ended for. The terminal is as before.

    The greeting is shown once every key goes to the VM. It ends with an input that is no terminal, too, as soon as the
    VM has nothing more to say to it.
    """
    ended_read, ended_write = os.pipe()
    printed = _Printed()
    printer = threading.Thread(target=_print, args=(console, ended_write, printed), daemon=True)
    with _raw(sys.stdin.fileno()):
        print(greeting, end="\r\n", file=sys.stderr, flush=True)
        printer.start()
        _type(console, sys.stdin.fileno(), ended_read)
        if not os.isatty(sys.stdin.fileno()):
            linger(lambda: printed.pieces, ended_read)
        console.close()
        printer.join()
    os.close(ended_read)
    if printed.error:
        raise printed.error


@dataclass
class _Printed:
    """What came out of the console so far."""

    pieces: int = 0
    error: GodwitError | None = None


def _print(console: Console, ended: int, printed: _Printed) -> None:
    try:
        for data in console.output():
            os.write(sys.stdout.fileno(), data)
            printed.pieces += 1
    except GodwitError as error:
        printed.error = error
    finally:
        os.close(ended)


def linger(pieces: Callable[[], int], ended: int, *, quiet_s: float = QUIET_S) -> None:
    """Until the console has ended or has printed nothing for a while; one that never stops is left after ten."""
    for _ in range(LOOKS):
        before = pieces()
        if select.select([ended], [], [], quiet_s)[0] or pieces() == before:
            return


def _type(console: Console, keyboard: int, ended: int) -> None:
    """Until the person leaves, the input is over or the other end has ended."""
    is_terminal = os.isatty(keyboard)
    with suppress(KeyboardInterrupt):
        while ended not in (ready := select.select([keyboard, ended], [], [])[0]):
            data = os.read(ready[0], 4096)
            before, leave, _ = data.partition(LEAVE) if is_terminal else (data, b"", b"")
            if before:
                console.write(before)
            if leave or not data:
                return


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Every key goes to the VM, if it is a keyboard."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
