from __future__ import annotations

import os
import subprocess

from godwit.lab import processes


def test_a_process_is_alive_until_it_ends_even_while_nobody_has_buried_it() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        identity = processes.identify(child.pid)
        assert identity is not None
        assert identity.is_alive
        assert child.stdin is not None
        child.stdin.close()
        assert processes.wait_gone([identity], timeout_s=60)
        assert not identity.is_alive


def test_another_process_with_the_same_pid_is_not_it() -> None:
    identity = processes.identify(os.getpid())
    assert identity is not None
    assert not identity.model_copy(update={"start_ticks": identity.start_ticks + 1}).is_alive


def test_waiting_for_a_process_that_stays_ends_with_no() -> None:
    identity = processes.own_outer_identity()
    assert identity.pid == os.getpid()
    assert not processes.wait_gone([identity], timeout_s=0)


def test_we_find_ourselves_among_the_processes_of_our_namespace() -> None:
    mine = [process for process in processes.in_pid_namespace(os.getpid()) if process.pid == os.getpid()]
    assert [process.parent_pid for process in mine] == [os.getppid()]


def test_a_process_that_is_not_there_has_no_identity() -> None:
    assert processes.identify(2**22 + 1) is None
