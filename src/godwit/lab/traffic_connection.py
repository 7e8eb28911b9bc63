"""A client whose connection is an asyncio transport."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod

from godwit.lab.traffic_client import Client
from godwit.lab.traffic_redis import RedisError
from godwit.lab.traffic_tcp import Options

CONNECT_S = 2.0


class TcpClient(Client, asyncio.Protocol):
    """A client whose connection is asyncio's."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__()
        self._address = (address, port)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    def opened(self) -> None:
        """The connection is fresh: sends the first request."""

    @abstractmethod
    def arrived(self, data: bytes) -> None:
        """Data came."""

    async def attempt(self) -> None:
        """See `Client`."""
        async with asyncio.timeout(CONNECT_S):
            await self._loop.create_connection(lambda: self, *self._address)

    def connection(self) -> Options | None:
        """See `Client`."""
        found: Options | None = self._transport.get_extra_info("socket") if self._transport else None
        return found

    def disconnect(self) -> None:
        """See `Client`."""
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()

    def send(self, data: bytes) -> None:
        """The data is on its way, or nothing happens because the connection is gone."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def later(self, delay_ms: float) -> None:
        """`request` is called then."""
        self._timer = self._loop.call_later(max(delay_ms, 0.0) / 1000.0, self.request)

    @abstractmethod
    def request(self) -> None:
        """It is time for the next request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self.arrived(data)
        except (RedisError, ValueError) as error:
            self.was_wrong(str(error))
            self.broke(str(error))
            self.disconnect()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._timer:
            self._timer.cancel()
        self.broke(str(exc) if exc else "the server closed the connection")
