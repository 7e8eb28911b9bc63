"""Examples below a command's help."""

from __future__ import annotations


def example(*commands: str) -> str:
    """The epilogue of a command: how one would type it, a line each."""
    return "\n\n".join(["Examples:" if len(commands) > 1 else "Example:", *(f"$ {each}" for each in commands)])
