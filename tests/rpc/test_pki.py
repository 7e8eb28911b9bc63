"""The authority and its certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from godwit.core.errors import Failed, Invalid, NotFound, Refused
from godwit.main.pki import app
from godwit.rpc import pki


def test_an_authority_is_never_replaced(tmp_path: Path) -> None:
    ca = pki.init(tmp_path)
    before = ca.certificate.read_bytes(), ca.key.read_bytes()
    with pytest.raises(Refused, match="exists already"):
        pki.init(tmp_path)
    assert (ca.certificate.read_bytes(), ca.key.read_bytes()) == before


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(Failed, match=r"file/ca-key\.pem cannot be written: .*; name another directory"):
        pki.init(file)


def test_a_certificate_names_its_host(tmp_path: Path) -> None:
    pki.init(tmp_path / "ca")
    tls = pki.issue(tmp_path / "ca", "agent", name="host-a", addresses=["10.0.0.5", "fd00::5"], out=tmp_path / "out")
    certificate = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert certificate.subject.rfc4514_string() == "CN=agent.host-a"
    assert names.get_values_for_type(x509.DNSName) == ["host-a.agent.godwit"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "fd00::5"]
    assert tls.ca.parent == tls.key.parent == tmp_path / "out"
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(tls.ca.read_bytes()))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)


def test_keys_are_for_the_owner_only_and_no_scraps_are_left(tmp_path: Path) -> None:
    ca = pki.init(tmp_path)
    tls = pki.issue(tmp_path, "manager")
    assert [path.stat().st_mode & 0o777 for path in (ca.key, tls.key)] == [0o600, 0o600]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca-key.pem", "ca.pem", "manager-key.pem", "manager.pem",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["ca", "manager"])
def test_no_name_of_a_host_overwrites_another_file(tmp_path: Path, name: str) -> None:
    ca = pki.init(tmp_path)
    before = ca.key.read_bytes()
    assert pki.issue(tmp_path, "agent", name=name).key != pki.issue(tmp_path, "manager").key
    assert ca.key.read_bytes() == before


def test_issued_again_it_replaces_the_old_one(tmp_path: Path) -> None:
    pki.init(tmp_path)
    first = pki.issue(tmp_path, "manager").certificate.read_bytes()
    assert pki.issue(tmp_path, "manager").certificate.read_bytes() != first


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="godwit pki init"):
        pki.issue(tmp_path, "manager")
    ca = pki.init(tmp_path)
    with pytest.raises(Invalid, match=r"10.0.0"):
        pki.issue(tmp_path, "agent", name="host-a", addresses=["10.0.0"])
    ca.key.write_text("nonsense")
    with pytest.raises(Failed, match="not an authority"):
        pki.issue(tmp_path, "manager")


def test_from_the_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke
    ca, out = str(tmp_path / "ca"), str(tmp_path / "out")
    issue = ["issue", "--dir", ca, "--out", out]
    assert run(app, ["init", "--dir", ca]).exit_code == 0
    assert run(app, [*issue, "agent", "host-a", "--address", "10.0.0.5", "--address", "fd00::5"]).exit_code == 0
    assert run(app, [*issue, "manager"]).exit_code == 0
    assert (tmp_path / "out" / "agent.host-a.pem").exists()
    for words in (["init", "--dir", ca], [*issue, "agent"], [*issue, "agent", "Host A"], [*issue, "manager", "host-a"]):
        refused = run(app, words)
        assert refused.exit_code == 2
        assert refused.stderr.startswith("godwit: ")
        assert refused.stderr.count("\n") == 1
