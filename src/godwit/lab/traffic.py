"""Clients that talk to a guest while it moves, and what they saw of it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from godwit.core.errors import Failed
from godwit.lab.traffic_process import piped
from godwit.lab.traffic_result import TrafficResult

CLIENT_NODE = ("godwit", "lab", "exec", "client", "--")
READY_S = 60.0
ANSWER_S = 60.0


class Traffic:
    """The traffic program, running in a node. Leaving the `with` block ends it, also after a failure.

    with Traffic("10.90.0.50", node=CLIENT_NODE, key=image / "id_ed25519") as traffic:
        traffic.mark("there")
        ...
        result = traffic.stop()
    """

    def __init__(
        self,
        address: str,
        *,
        kinds: Sequence[str] = ("all",),
        node: Sequence[str] = (),
        key: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """All services have answered and are being measured; `Failed` says which did not within a minute.

        `node` is what to put before a command to run it in the right place; `options` are more of the program's
        (`python -m godwit.lab.traffic --help`).
        """
        words: list[str] = [
            sys.executable,
            "-m",
            "godwit.lab.traffic",
            ",".join(kinds),
            address,
            f"--ready-s={READY_S}",
        ]
        words += [f"--key={key}"] if key else []
        self._process = piped([*node, *words, *options])
        self._rest = b""
        try:
            self._answer("started", READY_S + ANSWER_S)
        except BaseException:
            self.close()
            raise

    def mark(self, name: str) -> float:
        """A new measuring window of that name has begun, at this Unix time in milliseconds."""
        self._tell(command="mark", name=name)
        return float(self._answer("marked", ANSWER_S)["at_ms"])

    def stop(self) -> TrafficResult:
        """All clients have ended; what they saw."""
        self._tell(command="stop")
        result = self._answer("stopped", ANSWER_S)["result"]
        self.close()
        return TrafficResult.model_validate(result)

    def close(self) -> None:
        """The program is gone. Harmless when repeated."""
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tell(self, **words: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
        except BrokenPipeError:
            raise self._gone() from None

    def _answer(self, event: str, within_s: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(within_s))
        if answer["event"] != event:
            raise Failed(f"the traffic clients did not start: {answer.get('reason', answer)}")
        return answer

    def _line(self, within_s: float) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + within_s
        while b"\n" not in self._rest:
            left_s = until - time.monotonic()
            if left_s <= 0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                raise Failed(f"the traffic program said nothing for {within_s:g} s; is its node still up?")
            if not (data := os.read(self._process.stdout.fileno(), 1 << 20)):
                raise self._gone()
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _gone(self) -> Failed:
        assert self._process.stderr is not None
        words = (self._process.stderr.read() or b"").decode(errors="replace").strip().splitlines()
        return Failed(f"the traffic program ended by itself: {words[-1] if words else 'it gave no reason'}")


if __name__ == "__main__":
    from godwit.lab.traffic_program import main

    sys.exit(main(sys.argv[1:]))
