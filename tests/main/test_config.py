"""Configuration files: read, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.config import ManagerConfig
from godwit.core.errors import Invalid
from godwit.main.config import read_config

GOOD = """
socket = "/run/x.sock"
[tls]
ca = "ca.pem"
certificate = "c.pem"
key = "k.pem"
[hosts.host-a]
address = "10.0.0.1:7411"
[networks.lan]
pool = "10.90.0.100-10.90.0.199/24"
"""
TOKEN = f'[[tokens]]\nname = "a"\nrole = "read"\nsha256 = "{"0" * 64}"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "manager.toml"


def test_a_good_file_is_read(file: Path) -> None:
    file.write_text(GOOD)
    config = read_config(file, ManagerConfig)
    assert (config.socket, config.hosts["host-a"].address) == (Path("/run/x.sock"), "10.0.0.1:7411")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace("[tls]", "[tls"), "is no TOML: Expected ']'.*line 3"),
        (GOOD.replace('key = "k.pem"', ""), "line 3: tls.key is missing"),
        (GOOD.replace("socket", "sokcet"), "line 2: sokcet is not known; allowed there are socket, listen, tokens"),
        (GOOD.replace("ca =", "cacert ="), r"tls.ca is missing \(and 1 more\)"),
        (GOOD.replace("key =", 'key = "k"\nkeys ='), "tls.keys is not known; allowed there are ca, certificate, key"),
        (GOOD + "colour = 1", "line 11: networks.lan.colour is not known; allowed there are pool"),
        (
            GOOD.replace("10.0.0.1:7411", "there"),
            "line 8: hosts.host-a.address is 'there': write ADDRESS:PORT, such as",
        ),
        (GOOD + '[listen]\naddress = ":1"\nport = 2\n', "line 12: listen.address is ':1'"),
        (GOOD + TOKEN + "admin = true\n", "line 15: tokens.0.admin is not known; allowed there are name, role, sha256"),
        (
            GOOD + TOKEN + TOKEN.replace("read", "owner"),
            "line 17: tokens.1.role is 'owner': .*'read', 'operate' or 'admin'",
        ),
        (GOOD + TOKEN + TOKEN, "two tokens have the same name"),
        (
            'hosts = { a = { adress = "x:1" } }\n' + GOOD.replace("[hosts.host-a]", "[x]"),
            "line 1: hosts.a.address is missing",
        ),
    ],
)
def test_a_bad_file_is_refused_by_name_and_key(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(Invalid, match=f"{file}.*{sentence}"):
        read_config(file, ManagerConfig)


def test_a_missing_file_and_one_that_is_no_text(file: Path) -> None:
    with pytest.raises(Invalid, match=r"cannot be read: No such file or directory; name it with --config"):
        read_config(file, ManagerConfig)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="is no TOML"):
        read_config(file, ManagerConfig)
