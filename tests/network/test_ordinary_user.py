"""What needs root in this folder works in an ordinary user's own namespaces too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_without_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("this is root: the tests run here themselves")
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("an ordinary user may not create user namespaces here")
    pytest_of_root = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "root", "-p", "no:cacheprovider"]
    argv = [*alone, *pytest_of_root, str(Path(__file__).parent)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
