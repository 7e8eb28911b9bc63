from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from godwit.core.config import AgentConfig, ManagerConfig, Tls
from godwit.core.errors import Refused
from godwit.lab.configs import Outfit, agent_config, manager_config, memory_share_mib, to_toml
from godwit.lab.places import Lab
from godwit.lab.settings import Settings
from godwit.lab.topology import Topology


def outfit(**settings: object) -> Outfit:
    lab = Lab("try", run_dir=Path("/run/user/7/godwit/try"), data_dir=Path("/home/x/.local/state/godwit/labs/try"))
    plan = Topology(Settings.model_validate(settings))
    return Outfit(lab, plan, {"base": Path("/cache/images/base-1")}, Path("/cache"), memory_mib=1024)


def tls(name: str) -> Tls:
    return Tls(ca=Path("/ca.pem"), certificate=Path(f"/{name}.pem"), key=Path(f"/{name}-key.pem"))


def test_an_agent_reads_what_was_written_for_it() -> None:
    given = outfit(qemu={"host-b": "/opt/qemu 10"})
    for node in given.plan.hosts:
        config = agent_config(given, node, tls(node.name))
        assert AgentConfig.model_validate(tomllib.loads(to_toml(config))) == config


def test_the_manager_reads_what_was_written_for_it() -> None:
    config = manager_config(outfit(), tls("manager"))
    assert ManagerConfig.model_validate(tomllib.loads(to_toml(config))) == config
    assert {name: host.address for name, host in config.hosts.items()} == {
        "host-a": "10.91.0.11:7411",
        "host-b": "10.91.0.12:7411",
    }


def test_agents_answer_on_the_control_network_first() -> None:
    given = outfit()
    config = agent_config(given, given.plan.hosts[0], tls("host-a"))
    assert config.listen == ("10.91.0.11:7411", "10.92.0.11:7411")
    assert config.migration_address == "10.92.0.11"


def test_hosts_share_one_datastore_and_have_one_of_their_own() -> None:
    given = outfit()
    first, second = (agent_config(given, node, tls(node.name)) for node in given.plan.hosts)
    assert first.datastores["default"] == second.datastores["default"]
    assert first.datastores["default"].shared
    assert first.datastores["local"] != second.datastores["local"]
    assert not first.datastores["local"].shared
    assert first.state_dir != second.state_dir


def test_only_the_host_that_was_named_gets_the_unpacked_qemu() -> None:
    given = outfit(qemu={"host-b": "/opt/q"})
    first, second = (agent_config(given, node, tls(node.name)) for node in given.plan.hosts)
    assert (first.qemu, first.qemu_env, first.qemu_firmware_dir) == ("qemu-system-x86_64", {}, None)
    assert second.qemu == "/opt/q/usr/bin/qemu-system-x86_64"
    assert second.qemu_env["QEMU_MODULE_DIR"] == "/opt/q/usr/lib/x86_64-linux-gnu/qemu"
    assert second.qemu_firmware_dir == given.lab.data_dir / "host-b" / "firmware"


def test_a_host_never_gets_more_than_four_gibibyte() -> None:
    assert memory_share_mib(2) <= 4096


def test_too_many_hosts_for_the_memory_are_refused() -> None:
    with pytest.raises(Refused, match="use fewer"):
        memory_share_mib(10**9)
