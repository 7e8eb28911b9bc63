"""What docs/api.md shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.client.sites import TOKENS, living_over_tcp
from tests.manager.site import WEB

from godwit.client.client import Client
from godwit.core.config import Role

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_the_example_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with living_over_tcp(tmp_path) as live:
        with Client(live.socket) as owner:
            owner.create_vm(WEB)
        monkeypatch.setenv("GODWIT_MANAGER", f"https://127.0.0.1:{live.port}")
        monkeypatch.setenv("GODWIT_TOKEN", TOKENS[Role.operate])
        monkeypatch.setenv("GODWIT_CA", str(tmp_path / "pki" / "ca.pem"))
        exec(compile(script, "docs/api.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-2].split()[-1], lines[-1]) == ("web-1 running host-a", "done", "done 10.0")


def test_the_roles_are_those_of_the_program() -> None:
    assert re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE) == list(Role)
