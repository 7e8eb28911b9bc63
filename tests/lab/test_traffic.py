"""The traffic program against servers on this machine: what goes wrong there is what it reports."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from godwit.core.errors import Failed
from godwit.lab.traffic import Traffic
from godwit.lab.traffic_result import ClientSummary, TrafficResult

DEADLINE_S = 60.0


class Server(socketserver.ThreadingTCPServer):
    """Echoes, or plays Redis; can be told to fall silent, to lie, and to reset its connections."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.changed = threading.Condition()
        self.requests = 0
        self.connections = 0
        self.resets = 0
        self.silence_s = 0.0
        self.lie = False
        self.reset = False
        self.values: dict[bytes, bytes] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def wait_for_requests(self, more: int) -> None:
        with self.changed:
            wanted = self.requests + more
            assert self.changed.wait_for(lambda: self.requests >= wanted, DEADLINE_S)

    def wait_until(self, happened: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(happened, DEADLINE_S)

    def before_answer(self, connection: socket.socket) -> None:
        with self.changed:
            self.requests += 1
            silence_s, self.silence_s = self.silence_s, 0.0
            self.resets += self.reset
            self.changed.notify_all()
        if silence_s:
            threading.Event().wait(silence_s)
        if self.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            raise ConnectionAbortedError

    def honest(self, right: bytes) -> bytes:
        if not self.lie:
            return right
        self.lie = False
        return right[:-3] + b"?" + right[-2:]


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def setup(self) -> None:
        self.server.connections += 1

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.serve()

    def serve(self) -> None:
        raise NotImplementedError


class Echo(Handler):
    def serve(self) -> None:
        while data := self.request.recv(4096):
            self.server.before_answer(self.request)
            self.request.sendall(self.server.honest(data))


class Redis(Handler):
    def serve(self) -> None:
        stream = self.request.makefile("rb")
        while line := stream.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(stream.readline()[1:])
                words.append(stream.read(size + 2)[:-2])
            self.server.before_answer(self.request)
            self.request.sendall(self.answer(words))

    def answer(self, words: list[bytes]) -> bytes:
        if words[0] == b"SET":
            self.server.values[words[1]] = words[2]
            return b"+OK\r\n"
        value = self.server.values[words[1]]
        return self.server.honest(b"$%d\r\n%b\r\n" % (len(value), value))


@contextlib.contextmanager
def serving(handler: type[Handler]) -> Iterator[Server]:
    with Server(handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def echo() -> Iterator[Server]:
    with serving(Echo) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Server]:
    with serving(Redis) as server:
        yield server


def traffic(kind: str, server: Server) -> Traffic:
    name = "echo" if kind == "echo" else "redis"
    return Traffic("127.0.0.1", kinds=[kind], options=[f"--{name}-port={server.port}", "--grace-s=60", "--warm-up-s=0"])


def only(result: TrafficResult) -> ClientSummary:
    (client,) = result.clients
    return client


@pytest.mark.parametrize("kind", ["redis", "bulk", "upload"])
def test_a_quiet_run_over_redis(kind: str, redis: Server) -> None:
    with traffic(kind, redis) as running:
        redis.wait_for_requests(200)
        result = running.stop()
    client = only(result)
    assert (client.kind, client.survived, client.verified, client.error) == (kind, True, True, None)
    assert client.operations >= 100
    assert redis.connections == 1
    assert result.samples[0].client == kind
    assert len(result.samples[0].points) > 1


def test_a_silence_is_measured_in_its_own_window(echo: Server) -> None:
    with traffic("echo", echo) as running:
        echo.wait_for_requests(50)
        running.mark("silent")
        echo.silence_s = 0.3
        echo.wait_for_requests(50)
        running.mark("after")
        echo.wait_for_requests(50)
        client = only(running.stop())
    assert [each.name for each in client.windows] == ["baseline", "silent", "after"]
    silent, after = client.windows[1:]
    assert silent.stall_ms >= 300
    assert silent.started_at_ms - 1 <= silent.stall_at_ms + silent.stall_ms <= after.started_at_ms + 1
    assert client.stall_ms == max(each.stall_ms for each in client.windows), "a busy machine may add silences elsewhere"
    assert client.survived
    assert client.verified


@pytest.mark.parametrize("kind", ["redis", "bulk"])
def test_a_silence_of_redis_is_a_stall(kind: str, redis: Server) -> None:
    with traffic(kind, redis) as running:
        redis.silence_s = 0.3
        redis.wait_for_requests(100)
        client = only(running.stop())
    assert client.stall_ms >= 300
    assert client.survived


@pytest.mark.parametrize("kind", ["redis", "bulk", "upload"])
def test_a_reset_means_not_survived_and_no_second_connection(kind: str, redis: Server) -> None:
    with traffic(kind, redis) as running:
        redis.reset = True
        redis.wait_until(lambda: redis.resets > 0)
        client = only(running.stop())
    assert not client.survived
    assert client.verified
    assert "reset" in (client.error or "")
    assert redis.connections == 1


def test_a_closed_connection_means_not_survived(echo: Server) -> None:
    with traffic("echo", echo) as running:
        echo.reset = True
        echo.wait_until(lambda: echo.resets > 0)
        assert not only(running.stop()).survived


def test_a_wrong_value_means_not_verified(redis: Server) -> None:
    with traffic("redis", redis) as running:
        redis.lie = True
        redis.wait_for_requests(20)
        client = only(running.stop())
    assert client.survived
    assert not client.verified
    assert "instead of" in (client.error or "")


@pytest.mark.parametrize("kind", ["bulk", "echo"])
def test_wrong_content_means_not_verified(kind: str, redis: Server, echo: Server) -> None:
    server = echo if kind == "echo" else redis
    with traffic(kind, server) as running:
        server.lie = True
        server.wait_for_requests(50)
        assert not only(running.stop()).verified


def test_one_that_never_answers_again_did_not_survive(echo: Server) -> None:
    options = [f"--echo-port={echo.port}", "--grace-s=0.2", "--warm-up-s=0"]
    with Traffic("127.0.0.1", kinds=["echo"], options=options) as running:
        echo.silence_s = 3600.0
        echo.wait_until(lambda: echo.silence_s == 0)
        client = only(running.stop())
    assert not client.survived
    assert "no answer" in (client.error or "")


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        options = [f"--echo-port={unused.getsockname()[1]}", "--ready-s=0.3"]
        with pytest.raises(Failed, match=r"echo: no answer within 0\.3 s"):
            Traffic("127.0.0.1", kinds=["echo"], options=options)


def test_the_program_ends_when_nobody_waits_for_its_services_any_more() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        words = ["-m", "godwit.lab.traffic", "echo", "127.0.0.1", f"--echo-port={unused.getsockname()[1]}"]
        ended = subprocess.run(
            [sys.executable, *words, "--ready-s=3600"], input=b"", capture_output=True, timeout=DEADLINE_S, check=False
        )
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["event"] == "failed"


def test_a_node_that_is_not_there_is_told_in_its_own_words() -> None:
    node = (sys.executable, "-c", "import sys; sys.exit('there is no such node')")
    with pytest.raises(Failed, match="there is no such node"):
        Traffic("127.0.0.1", kinds=["echo"], node=node)
