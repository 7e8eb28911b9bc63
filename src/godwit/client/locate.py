"""Where the manager that this shell means is found, and where a lab keeps what the shell needs."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from godwit.core.errors import Invalid

if TYPE_CHECKING:
    from godwit.client.place import Place, Remote

KEYS = ("manager", "token", "ca")
SYSTEM_SOCKET = Path("/run/godwit/manager.sock")
"""Of the manager that systemd runs on this machine."""


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


def manager_place(named: str | None = None) -> Place:
    """The manager's socket or URL: as named, else GODWIT_MANAGER, else the user's configuration, else a lab,
    else this machine's.

    The token of one with a URL is GODWIT_TOKEN, else the configuration's; the same for GODWIT_CA and its authority.
    """
    given = named or os.environ.get("GODWIT_MANAGER")
    # with a path at hand, the file does not matter: a broken one must not stand in the way
    configured = {} if given and "://" not in given else _configured(user_config())
    found = given or configured.get("manager")
    if found is None:
        return SYSTEM_SOCKET if SYSTEM_SOCKET.exists() and not lab_socket().exists() else lab_socket()
    return _remote(found, configured) if "://" in found else Path(found)


def user_config() -> Path:
    """Where the user may write `manager = "/path/of/the/socket"`, or a URL with `token` and `ca`."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "godwit" / "config.toml"


def _remote(url: str, configured: dict[str, str]) -> Remote:
    from godwit.client.place import Remote

    if not url.startswith("https://"):
        raise Invalid(f"{url} is no place of a manager: write https://HOST:PORT, or the path of its socket", "manager")
    token = os.environ.get("GODWIT_TOKEN") or configured.get("token")
    if not token:
        raise Invalid(
            f"the manager at {url} wants a token: set GODWIT_TOKEN, or token in {user_config()}; "
            "whoever runs that manager makes one with `godwit pki token`",
            "no-token",
        )
    ca = os.environ.get("GODWIT_CA") or configured.get("ca")
    return Remote(url.rstrip("/"), token, Path(ca).expanduser() if ca else None)


def _configured(file: Path) -> dict[str, str]:
    try:
        words = tomllib.loads(file.read_text())
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(f"{file} cannot be read ({error}): mend it, or name the manager with --manager") from error
    for key, value in words.items():
        if key not in KEYS:
            raise Invalid(f"{file}: {key} is not known; allowed there are {', '.join(KEYS)}")
        if not isinstance(value, str):
            raise Invalid(f'{file}: {key} must be text in quotes, such as manager = "/run/godwit/manager.sock"')
    if "token" in words and mode & 0o077:
        raise Invalid(f"{file} holds a token and others may read it: `chmod 600 {file}`")
    return words
