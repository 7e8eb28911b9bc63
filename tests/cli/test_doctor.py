"""`godwit doctor --capture`: its exit status, its words, its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.diagnosis.wire import RESUME_S, VM, Network

from godwit.main.godwit import main


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A move whose announcement something swallowed."""
    net = Network()
    net.chatter(0.0, 12.0, *net.everywhere)
    net.exchange(0.0, 5.0, net.a, net.client)
    net.announce(RESUME_S, net.b)
    net.exchange(RESUME_S + 0.01, 12.0, net.b, net.client)
    words = []
    for place in net.everywhere:
        (tmp_path / place.name).write_bytes(place.pcap())
        words += ["--capture", str(tmp_path / place.name)]
    return words


def test_it_names_the_cause_with_packets_and_what_to_change(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *files]) == 1

    told = capsys.readouterr().out
    assert told.startswith("announcement-filtered: ")
    assert "packets" in told
    assert "Linux bridge: let RARP" in told
    assert "from its documentation, not tried" in told


def test_nothing_found_is_zero(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *files[-2:]]) == 0
    assert capsys.readouterr().out.startswith("nothing wrong found")


def test_json_and_page(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "doctor.html"

    assert main(["doctor", *files, "--mac", VM, "--json", "--html", str(page)]) == 1

    told = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in told["findings"]] == ["announcement-filtered"]
    assert told["vms"][0]["mac"] == VM
    assert "announcement-filtered" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--capture", "absent.pcap"], "absent.pcap cannot be read"),
        (["--capture", "pyproject.toml"], "neither a pcap nor a pcapng"),
        (["--capture", ".", "--mac", "a"], "no MAC address"),
        (["--mac", VM], "--mac is about captures"),
        (["--capture", "a.pcap", "--host", "host-a"], "--host is about hosts"),
    ],
)
def test_wrong_input_is_two_and_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2

    assert said in capsys.readouterr().err
