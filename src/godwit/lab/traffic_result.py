"""What the traffic clients saw: one summary for each client, with a window for each stretch between marks."""

from __future__ import annotations

from pydantic import Field

from godwit.core.model import Fact


class TcpCounters(Fact):
    """What the client's kernel knows about one connection; its own direction only."""

    retransmissions: int = 0
    """Segments sent again, whatever the reason (tcp_info.tcpi_total_retrans)."""
    spurious_retransmissions: int = 0
    """Those that the peer reported to have had already (tcp_info.tcpi_dsack_dups): nothing was lost."""

    def since(self, earlier: TcpCounters) -> TcpCounters:
        """What was added after the earlier reading."""
        return TcpCounters(
            retransmissions=self.retransmissions - earlier.retransmissions,
            spurious_retransmissions=self.spurious_retransmissions - earlier.spurious_retransmissions,
        )


class WindowSummary(TcpCounters):
    """One stretch of time of one client."""

    name: str
    started_at_ms: float
    """Unix time."""
    ended_at_ms: float
    stall_ms: float = 0.0
    """The longest time between two successive signs of progress.

    A silence that a mark cuts counts up to the mark in the window before it, and whole in the window after it.
    """
    stall_at_ms: float = 0.0
    """Unix time at which that silence began."""
    operations: int = 0
    bytes: int = 0


class ClientSummary(TcpCounters):
    """One client from its first answer to its end."""

    name: str
    kind: str
    stall_ms: float
    """The longest silence in any window."""
    stall_at_ms: float
    operations: int
    bytes: int
    survived: bool
    """The one connection it opened was open, and answering, to the end."""
    verified: bool
    """Every answer was the right one."""
    error: str | None = None
    congestion_control: str = ""
    """Empty: the connection could not be asked, and the counters mean nothing."""
    windows: tuple[WindowSummary, ...] = ()
    last_record: int = 0
    """Of `records`: this one and all before it were acknowledged as being on disk."""


class Samples(Fact):
    """Answers of one client over time, thinned: the slowest one of each ten milliseconds."""

    client: str
    points: tuple[tuple[float, float], ...] = ()
    """Unix time of the answer in ms, and how long it took in ms."""


class TrafficResult(Fact):
    """All that one run of the traffic program saw."""

    clients: tuple[ClientSummary, ...] = Field(default=())
    samples: tuple[Samples, ...] = ()
