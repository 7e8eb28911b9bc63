"""A guest that writes and verifies: fio on a file system of its second disk, in an image with tools."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from godwit.core.errors import Failed
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Scenario, wait_until
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

IMAGE = "tools"
COMMAND_S = 60.0
SERVICES = ("redis", "echo")
VERIFIED = "--directory=/data --direct=1 --ioengine=psync --verify=crc32c --verify_fatal=1 --output-format=json"
AT_REST = f"fio --name=rest {VERIFIED} --rw=write --bs=16k --size=8m"
"""Written once, and read again after each move (`--verify_only`)."""
THROUGHOUT = (
    f"fio --name=busy {VERIFIED} --rw=randwrite --bs=4k --size=4m --verify_backlog=32 --thinktime=3000 "
    "--time_based --runtime=3600 --status-interval=1 --output=/run/busy.json"
)
"""Each 32 writes are read again and verified at once, while a move goes on."""
BUSY = f"(setsid {THROUGHOUT} </dev/null >/dev/null 2>/run/busy.err &)"
END = "killall -INT fio; while pidof fio >/dev/null; do usleep 20000; done; cat /run/busy.err"


class Guest:
    """A shell in the guest `web`."""

    def __init__(self, lab: Scenario) -> None:
        self._lab = lab
        self._key = ensure_image(IMAGE, cache=default_cache(), progress=lambda _: None) / "id_ed25519"

    def wait_ready(self) -> None:
        """Its services answer."""
        self._lab.traffic("web", kinds=SERVICES, options=("--warm-up-s=0",)).close()
        wait_until("its shell answers", lambda: self._run("true").returncode == 0)

    def demand(self, command: str) -> str:
        """What it printed; `Failed` if it did not succeed."""
        done = self._run(command)
        if done.returncode:
            raise Failed(f"in the guest: {command}: {done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode()

    def _run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        nic = self._lab.client.vm("web").nics[0]
        assert nic.ip is not None
        words = [*self._lab.look().node("client").enter, *ssh_argv(str(nic.ip.ip), SSH_PORT, self._key)[:-1], command]
        return subprocess.run(words, capture_output=True, timeout=COMMAND_S, check=False)

    def make_file_system(self) -> None:
        """On its second disk, with a file at rest that can be verified."""
        self.demand("/bin/mke2fs -q -t ext4 /dev/vdb")  # and not the one in busybox
        with self.mounted():
            self.demand(f"{AT_REST} --do_verify=0")

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """The file system is there while the block runs."""
        self.demand("mkdir -p /data && mount /dev/vdb /data")
        yield
        self.demand("umount /data")

    def verify_at_rest(self) -> None:
        """The file at rest is as it was written, read from the disk."""
        told = json.loads(self.demand(f"echo 3 >/proc/sys/vm/drop_caches; {AT_REST} --verify_only"))
        (job,) = told["jobs"]
        assert (job["error"], job["read"]["total_ios"]) == (0, 512), told

    def begin_verifying(self) -> None:
        """Writes are being verified."""
        self.demand(BUSY)
        self.wait_verified_more()

    def wait_verified_more(self) -> None:
        """Others were verified since, and none was wrong."""
        before = self._verified()
        wait_until("more writes are verified", lambda: self._verified() > before)

    def end_verifying(self) -> int:
        """How many blocks were verified in all; none of them was wrong."""
        told = self.demand(END)
        assert "verify" not in told, told
        return self._verified()

    def _verified(self) -> int:
        told = _last(self.demand("cat /run/busy.json 2>/dev/null || true"))
        if told is None:
            return 0
        (job,) = told["jobs"]
        assert job["error"] == 0, told
        return int(job["read"]["total_ios"])


def _last(text: str) -> dict[str, Any] | None:
    """Of several JSON texts one after the other, the last that is whole."""
    decoder, at, found = json.JSONDecoder(), 0, None
    while (begin := text.find("{", at)) >= 0:
        try:
            found, at = decoder.raw_decode(text, begin)
        except ValueError:
            break
    return found
