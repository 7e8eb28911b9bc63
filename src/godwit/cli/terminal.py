"""A person's terminal joined to a VM's serial console."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from godwit.client.console import Console
from godwit.core.errors import GodwitError

LEAVE = b"\x1d"
"""Ctrl-]."""


def join(console: Console, *, greeting: str) -> None:
    """Returns when the person leaves, or when the console ends; raises what it ended for. The terminal is as before.

    The greeting is shown once every key goes to the VM. At the end of an input that is no terminal, output goes on
    until the console ends.
    """
    ended_read, ended_write = os.pipe()
    errors: list[GodwitError] = []
    printer = threading.Thread(target=_print, args=(console, ended_write, errors), daemon=True)
    with _raw(sys.stdin.fileno()):
        print(greeting, end="\r\n", file=sys.stderr, flush=True)
        printer.start()
        _type(console, sys.stdin.fileno(), ended_read)
        console.close()
        printer.join()
    os.close(ended_read)
    if errors:
        raise errors[0]


def _print(console: Console, ended: int, errors: list[GodwitError]) -> None:
    try:
        for data in console.output():
            os.write(sys.stdout.fileno(), data)
    except GodwitError as error:
        errors.append(error)
    finally:
        os.close(ended)


def _type(console: Console, keyboard: int, ended: int) -> None:
    """Until the person leaves or the other end has ended."""
    waiting = [keyboard, ended]
    is_terminal = os.isatty(keyboard)
    with suppress(KeyboardInterrupt):
        while ended not in (ready := select.select(waiting, [], [])[0]):
            data = os.read(ready[0], 4096)
            before, leave, _ = data.partition(LEAVE) if is_terminal else (data, b"", b"")
            if before:
                console.write(before)
            if leave:
                return
            if not data:
                waiting.remove(keyboard)


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
