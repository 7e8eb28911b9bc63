"""What is shipped beside the program: example configurations that can be read, units that do what they must."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from godwit.core.config import AgentConfig, ManagerConfig
from godwit.main.config import read_config

PACKAGING = Path(__file__).parents[2] / "packaging"
CONFIGS: dict[str, type[BaseModel]] = {"agent": AgentConfig, "manager": ManagerConfig}


@pytest.mark.parametrize("daemon", CONFIGS)
def test_the_example_is_read_and_so_is_all_that_it_leaves_out(daemon: str, tmp_path: Path) -> None:
    kind = CONFIGS[daemon]
    text = (PACKAGING / f"{daemon}.toml").read_text()
    read_config(PACKAGING / f"{daemon}.toml", kind)
    whole = tmp_path / "whole.toml"
    whole.write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))
    said = read_config(whole, kind).model_dump()
    explained = {key for key in kind.model_fields if re.search(rf"^(# )?\[*{key}\b", text, re.MULTILINE)}
    assert set(kind.model_fields) - explained <= {"qemu_env", "qemu_firmware_dir"}
    defaults = {key: field.default for key, field in kind.model_fields.items()}
    commented = re.findall(r"^# (\w+) = \"", text.partition("\n[")[0], re.MULTILINE)
    assumed = [key for key in commented if key not in {"metrics", "probe_kernel", "audit"}]
    assert {key: said[key] for key in assumed} == {key: defaults[key] for key in assumed}


@pytest.mark.parametrize("daemon", CONFIGS)
def test_the_unit(daemon: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PACKAGING / f"godwit-{daemon}.service")
    service = unit["Service"]
    assert service["ExecStart"] == f"/opt/godwit/bin/godwit {daemon} --config /etc/godwit/{daemon}.toml"
    assert (service["Type"], service["RuntimeDirectoryPreserve"]) == ("notify", "yes")
    if daemon == "agent":
        assert (service["KillMode"], service["Delegate"], service["OOMPolicy"]) == ("process", "yes", "continue")
