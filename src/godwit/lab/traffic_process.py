"""Starts programs that are talked to through pipes, and programs that talk to the terminal themselves."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

from godwit.core.errors import Failed


def piped(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """The program runs, all three of its streams are unbuffered pipes; Ctrl-C on our terminal does not reach it."""
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Failed(f"{argv[0]} is not installed here: install it and try again") from error


def shown(argv: Sequence[str]) -> int:
    """The program ran with our own terminal for its input and output; this is its exit status.

    Ctrl-C is the program's to handle while it runs, as it is when a shell runs it.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(argv, check=False).returncode
    except FileNotFoundError as error:
        raise Failed(f"{argv[0]} is not installed here: install it and try again") from error
    finally:
        signal.signal(signal.SIGINT, before)
