"""The UEFI firmware that the distribution installs."""

from __future__ import annotations

from pathlib import Path

from godwit.core.model import UefiFacts

PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
)
"""Code and variables of Debian and Ubuntu, Arch, Fedora, and older ones; without Secure Boot, which needs SMM."""

PACKAGE = "ovmf"
"""Debian's and Ubuntu's; Fedora's is edk2-ovmf."""


def find(places: tuple[tuple[str, str], ...] = PLACES) -> UefiFacts | None:
    """The first that is installed, if any."""
    for code, variables in places:
        if Path(code).is_file() and Path(variables).is_file():
            return UefiFacts(code=code, variables=variables, code_bytes=Path(code).stat().st_size)
    return None
