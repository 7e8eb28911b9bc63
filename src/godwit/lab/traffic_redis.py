"""The little of Redis' protocol (RESP2) that the clients speak: bytes in, values out."""

from __future__ import annotations

from hashlib import blake2b

Reply = bytes | int | None
"""A string of either kind, a number, or nil."""


class RedisError(Exception):
    """The server answered with an error, or with what is not RESP."""


def command(*words: bytes) -> bytes:
    """One command, ready to send."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def value_of(counter: int) -> bytes:
    """The value that belongs to a counter: 32 hexadecimal digits that no other counter has."""
    return blake2b(b"%d" % counter, digest_size=16).hexdigest().encode()


class Replies:
    """Takes the stream apart, however it was cut; whole replies come out in their order."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now. `RedisError` for an error reply: the stream is of no use afterwards."""
        self._buffer += data
        replies: list[Reply] = []
        start = 0
        while (found := _reply(self._buffer, start)) is not None:
            reply, start = found
            replies.append(reply)
        del self._buffer[:start]
        return replies


def _reply(buffer: bytearray, start: int) -> tuple[Reply, int] | None:
    """One reply and where the next begins; none while it is not complete."""
    end = buffer.find(b"\r\n", start)
    if end < 0:
        return None
    kind, line, after = buffer[start : start + 1], bytes(buffer[start + 1 : end]), end + 2
    match bytes(kind):
        case b"+":
            return line, after
        case b":":
            return int(line), after
        case b"$" if line == b"-1":
            return None, after
        case b"$":
            stop = after + int(line)
            return (bytes(buffer[after:stop]), stop + 2) if len(buffer) >= stop + 2 else None
        case b"-":
            raise RedisError(f"the server answered: {line.decode(errors='replace')}")
        case other:
            raise RedisError(f"the server sent what is not a reply: it begins with {other!r}")
