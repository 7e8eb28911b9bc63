"""Calls over a real connection with real certificates: what arrives, what is refused, what breaks and heals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from godwit.contract.host import Host, Nothing
from godwit.core.config import Tls
from godwit.core.errors import Broken, Failed, GodwitError, Invalid, Refused, TimedOut, Unreachable, may_be_repeated
from godwit.core.model import VmState, VmStatus
from godwit.rpc import pki, remote, wire
from godwit.rpc.remote import LONG_VERBS, Line, connect
from godwit.rpc.serve import Listening, serve
from godwit.rpc.transport import credentials_of_channel, grpc
from godwit.rpc.wire import verbs

from .conftest import ERRORS, Echo, Echoer, Number, Text

MANAGER = frozenset({"manager"})


def running(test: Coroutine[Any, Any, None]) -> None:
    """The test, bounded: nothing on the wire may hang."""

    async def bounded() -> None:
        async with asyncio.timeout(200):
            await test

    asyncio.run(bounded())


@asynccontextmanager
async def served(servant: object, tls: Tls, *, protocol: type = Echo, port: int = 0) -> AsyncIterator[Listening]:
    async with serve({protocol: (servant, MANAGER)}, listen=[f"127.0.0.1:{port}"], tls=tls) as listening:
        yield listening


@asynccontextmanager
async def talking(
    host_tls: Tls, our_tls: Tls, *, name: str = "host-a", timeout_s: float = 60.0
) -> AsyncIterator[tuple[Echoer, Echo]]:
    """A server and a connection to it."""
    servant = Echoer()
    async with served(servant, host_tls) as listening:
        address = f"127.0.0.1:{listening.ports[0]}"
        async with connect(Echo, address=address, name=name, tls=our_tls, timeout_s=timeout_s) as echo:
            yield servant, echo


async def texts(*words: str) -> AsyncIterator[Text]:
    for word in words:
        yield Text(text=word)


def test_each_shape_of_verb(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (servant, echo):
            assert await echo.repeat(Text(text="größer ✈")) == Text(text="größer ✈")
            assert [each.number async for each in echo.count(Number(number=3))] == [0, 1, 2]
            assert await echo.join(texts("a", "b", "c")) == Text(text="abc")
            assert [each.text async for each in echo.shout(texts("a", "b"))] == ["A", "B"]
            assert servant.closed == ["count", "shout"]

    running(test())


def test_answers_come_while_questions_are_still_asked(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        heard = asyncio.Event()

        async def dialogue() -> AsyncIterator[Text]:
            yield Text(text="one")
            await heard.wait()
            yield Text(text="two")

        async with talking(host_a_tls, manager_tls) as (_, echo):
            answers = []
            async for each in echo.shout(dialogue()):
                answers.append(each.text)
                heard.set()
            assert answers == ["ONE", "TWO"]

    running(test())


@pytest.mark.parametrize("word", list(ERRORS))
def test_errors_arrive_as_what_they_were(host_a_tls: Tls, manager_tls: Tls, word: str) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (_, echo):
            for call in (echo.repeat(Text(text=word)), collect(echo.shout(texts("a", word)))):
                with pytest.raises(GodwitError) as caught:
                    await call
                expected = ERRORS[word]
                assert type(caught.value) is type(expected)
                assert caught.value.code == expected.code
                assert caught.value.message[:999] == expected.message[:999]

    running(test())


def test_a_bug_is_told_without_its_traceback(
    host_a_tls: Tls, manager_tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (_, echo):
            with pytest.raises(Broken, match="agent's log") as caught:
                await echo.repeat(Text(text="!bug"))
            assert "secret" not in str(caught.value)

    running(test())
    assert "secret detail" in caplog.text


def test_an_error_in_what_we_send_is_ours(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def broken() -> AsyncIterator[Text]:
        yield Text(text="a")
        raise KeyError("ours")

    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (_, echo):
            with pytest.raises(KeyError, match="ours"):
                await collect(echo.shout(broken()))

    running(test())


def test_only_the_role_that_may(host_a_tls: Tls, host_b_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, host_b_tls) as (servant, echo):
            with pytest.raises(Refused, match=r"agent.host-b.*manager"):
                await echo.repeat(Text(text="a"))
            with pytest.raises(Refused):
                await collect(echo.count(Number(number=1)))
            assert servant.closed == []

    running(test())


def test_another_authority_is_not_believed(host_a_tls: Tls, tmp_path: Path) -> None:
    pki.init(tmp_path)
    stranger = pki.issue(tmp_path, "manager")

    async def test() -> None:
        async with talking(host_a_tls, stranger) as (_, echo):
            with pytest.raises(Unreachable, match="do not match"):
                await echo.repeat(Text(text="a"))

    running(test())


def test_a_stranger_is_not_let_in(host_a_tls: Tls, tmp_path: Path) -> None:
    """It believes our authority, but its own certificate is of another one."""
    pki.init(tmp_path)
    stranger = pki.issue(tmp_path, "manager").model_copy(update={"ca": host_a_tls.ca})

    async def test() -> None:
        async with talking(host_a_tls, stranger) as (servant, echo):
            with pytest.raises(Unreachable):
                await echo.repeat(Text(text="!wait"))
            assert not servant.entered.is_set()

    running(test())


def test_another_host_at_that_address_is_noticed(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls, name="host-b") as (_, echo):
            with pytest.raises(Unreachable, match=r"host-b.*do not match"):
                await echo.repeat(Text(text="a"))

    running(test())


def test_another_version_is_refused(host_a_tls: Tls, manager_tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_METADATA", ((wire.VERSION_KEY, "999"),))

    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (_, echo):
            with pytest.raises(Refused, match=f"host-a speaks version {wire.WIRE_VERSION}.*999.*install") as caught:
                await echo.repeat(Text(text="a"))
            assert caught.value.code == "wire-version"

    running(test())


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"[1]", b'{"text": 1}', b'{"text": "a", "more": 1}'])
def test_garbage_is_invalid(host_a_tls: Tls, manager_tls: Tls, data: bytes) -> None:
    async def test() -> None:
        async with served(Echoer(), host_a_tls) as listening, raw(listening, manager_tls) as channel:
            call: Any = channel.unary_unary("/godwit.Echo/repeat")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(data, metadata=remote._METADATA)
            told = dict(caught.value.trailing_metadata() or ())[wire.ERROR_KEY]
            assert type(wire.decode_error(bytes(told))) is Invalid  # type: ignore[arg-type]

    running(test())


def test_bytes_that_are_no_tls_harm_nobody(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with served(Echoer(), host_a_tls) as listening:
            port = listening.ports[0]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n" * 100)
            assert b"repeat" not in await reader.read()
            writer.close()
            async with connect(Echo, address=f"127.0.0.1:{port}", name="host-a", tls=manager_tls) as echo:
                assert await echo.repeat(Text(text="a")) == Text(text="a")

    running(test())


def test_too_large_is_invalid(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (_, echo):
            with pytest.raises(Invalid, match="too large"):
                await echo.repeat(Text(text="x" * wire.MESSAGE_BYTES_MAX))
            assert await echo.repeat(Text(text="x" * 1_000_000)) == Text(text="x" * 1_000_000)

    running(test())


def test_a_stream_left_early_is_closed_over_there(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (servant, echo):
            async with aclosing(echo.count(Number(number=-1))) as numbers:  # type: ignore[type-var]
                async for each in numbers:
                    if each.number == 3:
                        break
            await servant.finished.wait()
            assert servant.closed == ["count"]

    running(test())


def test_a_cancelled_reader_is_cancelled_and_not_unreachable(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (servant, echo):
            numbers = echo.count(Number(number=-1))
            await anext(numbers)
            reading = asyncio.create_task(collect(numbers))
            waiting = asyncio.create_task(echo.repeat(Text(text="!wait")))
            await servant.entered.wait()
            for task in (reading, waiting):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await servant.finished.wait()

    running(test())


def test_an_order_is_carried_out_even_if_nobody_waits(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with talking(host_a_tls, manager_tls) as (servant, echo):
            waiting = asyncio.create_task(echo.repeat(Text(text="!wait")))
            await servant.entered.wait()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await echo.repeat(Text(text="the cancellation has arrived before this"))
            servant.proceed.set()
            await servant.finished.wait()

    running(test())


def test_no_answer_in_time(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        limit_s, has_arrived = 0.5, False
        while not has_arrived:  # on a busy machine it may not have by then
            async with talking(host_a_tls, manager_tls, timeout_s=limit_s) as (servant, echo):
                with pytest.raises(TimedOut, match=r"host-a's agent at 127.0.0.1") as late:
                    await echo.repeat(Text(text="!wait"))
                assert may_be_repeated(late.value)
                has_arrived = servant.entered.is_set()
                servant.proceed.set()
            limit_s *= 2

    running(test())


def test_nobody_there(manager_tls: Tls) -> None:
    async def test() -> None:
        async with connect(Echo, address="127.0.0.1:1", name="host-b", tls=manager_tls) as echo:
            told = r"host-b's agent at 127.0.0.1:1 does not answer: Connection refused[^:]*; start it \(systemctl start"
            with pytest.raises(Unreachable, match=told):
                await echo.repeat(Text(text="a"))
            with pytest.raises(Unreachable):
                await collect(echo.count(Number(number=1)))

    running(test())


def test_closed_here(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        servant = Echoer()
        async with served(servant, host_a_tls) as listening:
            address = f"127.0.0.1:{listening.ports[0]}"
            connection = connect(Echo, address=address, name="host-a", tls=manager_tls)
            waiting = asyncio.create_task(connection.verbs.repeat(Text(text="!wait")))
            await servant.entered.wait()
            await connection.close()
            with pytest.raises(Unreachable, match="closed here"):
                await waiting
            with pytest.raises(Unreachable, match="closed here"):
                await connection.verbs.repeat(Text(text="a"))
            servant.proceed.set()

    running(test())


def test_a_stopped_server_is_told_and_a_restarted_one_answers(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with served(Echoer(), host_a_tls) as listening:
            port = listening.ports[0]
            connection = connect(Echo, address=f"127.0.0.1:{port}", name="host-a", tls=manager_tls)
            numbers = connection.verbs.count(Number(number=-1))
            assert (await anext(numbers)).number == 0
        with pytest.raises(Unreachable, match="host-a stops"):
            await collect(numbers)
        with pytest.raises(Unreachable):
            await connection.verbs.repeat(Text(text="a"))
        async with served(Echoer(), host_a_tls, port=port):
            assert await until_it_answers(connection.verbs) == Text(text="back")
            await connection.close()

    running(test())


def test_a_broken_connection_ends_its_streams_loudly(
    host_a_tls: Tls, manager_tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        servant = Echoer()
        async with (
            served(servant, host_a_tls) as listening,
            cut(listening.ports[0]) as (port, break_all),
            connect(Echo, address=f"127.0.0.1:{port}", name="host-a", tls=manager_tls) as echo,
        ):
            numbers = echo.count(Number(number=-1))
            assert (await anext(numbers)).number == 0
            break_all()
            with pytest.raises(Unreachable, match="host-a's agent"):
                await collect(numbers)
            await servant.finished.wait()
            assert await until_it_answers(echo) == Text(text="back")

    running(test())
    assert [record for record in caplog.records if record.name == "godwit.rpc"] == []


def test_a_port_in_use_is_named(host_a_tls: Tls) -> None:
    async def test() -> None:
        async with served(Echoer(), host_a_tls) as listening:
            port = listening.ports[0]
            with pytest.raises(Failed, match=f"127.0.0.1:{port}.*in use.*ss -ltnp"):
                async with served(Echoer(), host_a_tls, port=port):
                    pass

    running(test())


def test_certificates_that_are_missing_or_wrong_are_named(host_a_tls: Tls, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path, words in ((tmp_path / "none.pem", "cannot be read"), (nonsense, "not a certificate authority")):
        with pytest.raises(Failed, match=words):
            connect(Echo, address="127.0.0.1:1", name="host-a", tls=host_a_tls.model_copy(update={"key": path}))


class Watched:
    """As much of a Host as the test asks for; the rest of its verbs are there but must not be called."""

    def __getattr__(self, name: str) -> object:
        if name not in wire.verbs(Host):
            raise AttributeError(name)
        return None

    async def watch(self, request: Nothing, /) -> AsyncIterator[VmStatus]:
        for state in (VmState.starting, VmState.running):
            yield VmStatus(name="vm", state=state, owned=True)


def test_a_host(host_a_tls: Tls, manager_tls: Tls) -> None:
    async def test() -> None:
        async with served(Watched(), host_a_tls, protocol=Host) as listening:
            address = f"127.0.0.1:{listening.ports[0]}"
            async with connect(Host, address=address, name="host-a", tls=manager_tls) as host:
                states = [each.state async for each in host.watch(Nothing())]
                assert states == [VmState.starting, VmState.running]

    running(test())


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in stream]


async def until_it_answers(echo: Echo) -> Text:
    while True:
        try:
            return await echo.repeat(Text(text="back"))
        except Unreachable:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def raw(listening: Listening, tls: Tls) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without our adapter."""
    options = (("grpc.ssl_target_name_override", "host-a.agent.godwit"),)
    address = f"127.0.0.1:{listening.ports[0]}"
    async with grpc.aio.secure_channel(address, credentials_of_channel(tls), options=options) as channel:
        yield channel


@asynccontextmanager
async def cut(port: int) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A cable to that port which can be cut: all its connections are reset, new ones are possible."""
    writers: list[asyncio.StreamWriter] = []

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            logging.getLogger(__name__).debug("cut")
        finally:
            writer.close()

    async def plugged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    def break_all() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(plugged, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], break_all


def test_a_verb_that_starts_or_ends_programs_has_longer() -> None:
    line = Line(cast(Any, None), "host-a", "127.0.0.1:1", 10.0)
    known = verbs(Host)
    quick = {name for name, verb in known.items() if line.timeout_of(verb) == 10.0}

    assert quick >= {"facts", "reserve", "testify", "vm_status"}
    assert not quick & {"abort_incoming", "abort_outgoing", "release", "serve_disks", "discard_disks", "keep_disks"}
    assert known.keys() >= LONG_VERBS - {"go"}, "no word is wrong"
