"""The journal on a guest's disk: what the guest's script writes is what is looked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import godwit.lab
from godwit.lab.traffic_records import RECORD_BYTES, missing_records, record
from godwit.lab.traffic_redis import value_of

SCRIPT = Path(godwit.lab.__file__).parent / "guest" / "bin" / "records"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Records 1 to 3, as the guest's own script writes them."""
    made = tmp_path / "disk"
    words = SCRIPT.read_text().replace("/dev/vda", str(made)).replace("[ -b", "[ -n")
    asked = b"".join(b"%d %b\n" % (number, value_of(number)) for number in (1, 2, 3))
    answered = subprocess.run(["sh", "-c", words], input=asked, capture_output=True, check=True)
    assert answered.stdout == b"1\n2\n3\n"
    return made


def test_every_record_is_found(disk: Path) -> None:
    assert disk.stat().st_size == 4 * RECORD_BYTES
    assert missing_records(disk, 3) == []


def test_one_that_was_never_written_is_missing(disk: Path) -> None:
    assert missing_records(disk, 5) == [4, 5]


def test_a_torn_record_is_missing(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(2 * RECORD_BYTES)
        file.write(record(2)[:20] + b"?")

    assert missing_records(disk, 3) == [2]


def test_a_disk_without_the_service_is_refused() -> None:
    ended = subprocess.run(
        ["sh", "-c", SCRIPT.read_text().replace("/dev/vda", "/nowhere")], input=b"1 x\n", check=False
    )

    assert ended.returncode == 1
