"""Whether this user may make namespaces here, and what to do where not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from godwit.core.errors import Failed, Refused
from godwit.lab import shell

_TRIAL_S = 60
_TUN = "/dev/net/tun"


def unshare_words() -> list[str]:
    """The command that starts a program as the first process of namespaces in which we are root.

    The program dies with it, and everything in its pid namespace with the program.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]


def demand_namespaces() -> None:
    """A lab can be made here; `Refused` with what to change otherwise."""
    try:
        shell.run([*unshare_words(), "--mount-proc", "true"], timeout_s=_TRIAL_S)
    except Failed as error:
        raise Refused(_advice(error.message), "no-namespaces") from error


def demand_tun() -> None:
    """Taps can be made here; `Refused` with what to change otherwise."""
    try:
        os.close(os.open(_TUN, os.O_RDWR))
    except PermissionError as error:
        raise Refused(f"{_TUN} may not be opened: allow it with sudo chmod 666 {_TUN}", "no-tun") from error
    except OSError as error:
        raise Refused(f"{_TUN} cannot be opened: load the driver with sudo modprobe tun", "no-tun") from error


def demand_programs(programs: Sequence[str], package: str) -> None:
    """They are installed; `Refused` with the package that has them otherwise."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for each in programs:
        if shutil.which(each, path=path) is None:
            raise Refused(f"{each} is not installed: sudo apt-get install {package}", "absent")


def _advice(reason: str) -> str:
    if os.geteuid() == 0:
        return (
            f"root may not make namespaces here ({reason}): give this container CAP_SYS_ADMIN or use the machine itself"
        )
    return (
        f"an ordinary user may not make namespaces here ({reason}): allow it with sudo sysctl"
        " kernel.unprivileged_userns_clone=1 (on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0"
        " or an AppArmor profile), or use sudo"
    )
