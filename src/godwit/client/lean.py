"""httpx without its own command line, whose colours and lexers would be a third of the start of our commands."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

COMMAND_LINE = "httpx._main"
"""httpx imports it for a program of that name, and does without where its libraries are missing."""

if TYPE_CHECKING:
    import httpx
else:

    def _loaded() -> Any:
        """httpx, with nothing behind `httpx.main` unless somebody has loaded it before us."""
        if "httpx" not in sys.modules:
            empty = ModuleType(COMMAND_LINE)
            empty.main = lambda: sys.exit("httpx has no command line in here")
            sys.modules[COMMAND_LINE] = empty
        return import_module("httpx")

    httpx = _loaded()

__all__ = ["httpx"]
