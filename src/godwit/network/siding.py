"""A siding: a tap where frames wait in order for the program that takes them out.

Frames that come for a VM just after the points were thrown wait here until those that came before are on their way.
"""

from __future__ import annotations

from godwit.network.netlink import index_of, opened
from godwit.network.port import attach, make_ready
from godwit.network.ring import Frame, TapHandle
from godwit.network.tap import open_tap, take_large


class Siding:
    """A tap that is ours alone, for as long as it is open."""

    def __init__(self, beside: str, bridge: str, *, is_port: bool) -> None:
        """It waits beside that tap; nothing goes there until points say so. A Linux bridge needs it as a port."""
        self.name = f"gs{beside[2:]}"
        tap = open_tap(self.name)
        self._handle = TapHandle(tap.fd)
        try:
            take_large(tap)
            with opened(f"making the siding {self.name}") as ip:
                link = ip.link("get", index=index_of(bridge))[0]
                if is_port:
                    attach(ip, self.name, link)
                else:
                    make_ready(ip, self.name, link.get_attr("IFLA_MTU"))
                    ip.link("set", index=index_of(self.name), state="up")
        except BaseException:
            self.close()
            raise

    def drain(self) -> list[Frame]:
        """What waited, in its order; nothing waits any more."""
        return self._handle.drain()

    def close(self) -> None:
        """It is gone."""
        self._handle.close()
