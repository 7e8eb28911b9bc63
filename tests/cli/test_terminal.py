"""The commands on a terminal: raw consoles, bars, and what Ctrl-C asks."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.client.live import Live
from tests.manager.site import WEB

from godwit.cli.bar import words
from godwit.cli.terminal import LOOKS, linger
from godwit.client.client import Client
from godwit.core.migration import Progress


class Terminal:
    """`godwit` on a pseudo-terminal."""

    def __init__(self, live: Live, *words: str) -> None:
        self.master, slave = pty.openpty()
        environment = os.environ | {"GODWIT_MANAGER": str(live.socket), "TERM": "xterm", "COLUMNS": "120"}
        argv = [sys.executable, "-m", "godwit.main.godwit", *words]
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=_control_terminal,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def press(self, keys: str) -> None:
        """As the person does."""
        os.write(self.master, keys.encode())

    def read_until(self, text: str) -> None:
        """The person sees that text after what was seen before."""
        start = len(self.seen)
        deadline = time.monotonic() + 120
        while text not in self.seen[start:]:
            assert select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += self._read()

    def status(self) -> int:
        """What it exits with."""
        while data := self._read():
            self.seen += data
        return self.process.wait(120)

    def _read(self) -> str:
        try:
            return os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # nobody has the other end any more
            return ""


def _control_terminal() -> None:
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@contextmanager
def terminal(live: Live, *words: str) -> Iterator[Terminal]:
    shown = Terminal(live, *words)
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.wait()
        os.close(shown.master)


@pytest.fixture(autouse=True)
def web(live: Live) -> None:
    with Client(live.socket) as client:
        client.create_vm(WEB)


def test_a_console_is_raw_and_left_with_its_key(live: Live) -> None:
    with terminal(live, "vm", "console", "web-1") as shown:
        shown.read_until("leave it with Ctrl-]")
        shown.press("ping\x03")  # the fake host echoes; the person's own terminal must not, nor take Ctrl-C
        shown.read_until("ping\x03")
        shown.press("\x1d")
        assert shown.status() == 0
        assert shown.seen.count("ping") == 1
        assert "left the console of web-1" in shown.seen


def test_a_console_without_a_terminal_ends_with_its_input(live: Live) -> None:
    argv = [sys.executable, "-m", "godwit.main.godwit", "vm", "console", "web-1", "--manager", str(live.socket)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True)
    assert "left the console of web-1" in done.stderr


def test_what_a_vm_still_says_to_the_last_words_is_waited_for() -> None:
    reader, writer = os.pipe()
    seen: list[int] = []

    def pieces(said: tuple[int, ...]) -> int:
        seen.append(said[min(len(seen), len(said) - 1)])
        return seen[-1]

    linger(lambda: pieces((0, 1, 1, 2, 2, 2)), reader, quiet_s=0)
    assert seen == [0, 1, 1, 2, 2, 2], "it was silent then"
    seen.clear()
    linger(lambda: pieces(tuple(range(100))), reader, quiet_s=0)
    assert len(seen) == 2 * LOOKS, "one that never stops is left"
    os.close(writer)
    seen.clear()
    linger(lambda: pieces((0, 1)), reader, quiet_s=60)
    assert seen == [0], "the console has ended"
    os.close(reader)


def test_a_migration_on_a_terminal_ends_with_its_summary(live: Live) -> None:
    live.hold("host-a", "copy")  # or it is over before the line changes
    with terminal(live, "migrate", "web-1", "host-b") as shown:
        shown.read_until("copying")
        live.let("host-a", "copy")
        assert shown.status() == 0
        assert "web-1 moved host-a -> host-b in " in shown.seen


@pytest.mark.parametrize(("key", "status"), [("c", 130), ("d", 0)])
def test_ctrl_c_asks(live: Live, key: str, status: int) -> None:
    live.hold("host-b", "prepare_incoming")
    with terminal(live, "migrate", "web-1", "host-b") as shown:
        shown.read_until("preparing")
        shown.press("\x03")
        shown.read_until("[g]o on watching?")
        shown.press("g\r")
        shown.read_until("preparing")
        shown.press("\x03")
        shown.read_until("[g]o on watching?")
        shown.press(f"{key}\r")
        assert shown.status() == status
    live.let("host-b", "prepare_incoming")


@pytest.mark.parametrize("keys", ["n\r", "\x04"])
def test_a_host_is_drained_only_by_who_says_yes(live: Live, keys: str) -> None:
    with terminal(live, "host", "drain", "host-a") as shown:
        shown.read_until("Drain host-a? [y/N]")
        assert "GOES TO" in shown.seen
        shown.press(keys)
        assert shown.status() == 2
        assert "nothing was moved: host-a was not to be drained" in shown.seen


def test_what_the_bar_says() -> None:
    copied = Progress(
        pass_number=2,
        transferred_bytes=0,
        remaining_bytes=64 << 20,
        total_bytes=512 << 20,
        bandwidth_bytes_per_s=100 << 20,
        dirty_bytes_per_s=0,
        predicted_blackout_ms=34.4,
        time_left_s=2.5,
    )
    assert words("copying", copied) == "copying, pass 2, 64 MiB left, 100 MiB/s, blackout about 34 ms, 2.5 s to go"
    assert words("checking", None) == "checking"


def test_no_color_is_honoured(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for words_ in (("migrate", "web-1", "host-b"), ("migrate", "--help"), ("vm", "list")):
        with terminal(live, *words_) as shown:
            assert shown.status() == 0
            assert not re.search(r"\x1b\[(3[0-7]|9[0-7]|38)[;m]", shown.seen)
