"""Where the manager that this shell means is found, and where a lab keeps what the shell needs."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from godwit.core.errors import Invalid


def runtime_dir() -> Path:
    """The user's directory for sockets: `$XDG_RUNTIME_DIR/godwit`, else one of the user's own under /tmp.

    Short on purpose: a socket's path is limited to 107 bytes (unix(7)).
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "godwit"
    return Path("/tmp") / f"godwit-{os.getuid()}"


def lab_name() -> str:
    """The lab that this shell means."""
    return os.environ.get("GODWIT_LAB", "lab")


def lab_dir(name: str | None = None) -> Path:
    """Where that lab's manager socket (`manager.sock`) and `lab.json` lie while it is up."""
    return runtime_dir() / (name or lab_name())


def lab_socket(name: str | None = None) -> Path:
    """The manager's socket of that lab."""
    return lab_dir(name) / "manager.sock"


def manager_socket(named: str | None = None) -> Path:
    """The manager's socket: as named, else GODWIT_MANAGER, else the user's configuration, else the lab's."""
    found = named or os.environ.get("GODWIT_MANAGER") or _configured(user_config())
    return Path(found) if found else lab_socket()


def user_config() -> Path:
    """Where the user may write `manager = "/path/of/the/socket"`."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "godwit" / "config.toml"


def _configured(file: Path) -> str | None:
    try:
        manager = tomllib.loads(file.read_text()).get("manager")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise Invalid(f"{file} cannot be read ({error}): mend it, or name the manager with --manager") from error
    if not isinstance(manager, str | None):
        raise Invalid(f'{file}: manager must be a path in quotes, such as manager = "/run/godwit/manager.sock"')
    return manager
