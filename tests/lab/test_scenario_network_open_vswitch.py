"""What is promised of the network holds between hosts with Open vSwitch too: the same scenarios, on two of those.

Those that count frames of bulk transfers are left out: a switch in user space loses some by itself.
"""

from __future__ import annotations

import pytest
from tests.acceptance.test_network import test_neighbours_on_both_hosts_lose_nothing
from tests.lab.network import needs_open_vswitch
from tests.lab.test_scenario_network import (
    test_a_switch_that_has_not_learned_is_no_witness,
    test_connections_live_while_announcements_are_blocked_and_agents_restart,
    test_newcomers_get_in_and_whoever_was_silent_stays_connected,
    test_no_datagram_is_lost_and_few_come_twice,
)

from godwit.lab.settings import Settings, SwitchKind

__all__ = [
    "test_a_switch_that_has_not_learned_is_no_witness",
    "test_connections_live_while_announcements_are_blocked_and_agents_restart",
    "test_neighbours_on_both_hosts_lose_nothing",
    "test_newcomers_get_in_and_whoever_was_silent_stays_connected",
    "test_no_datagram_is_lost_and_few_come_twice",
]

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900), needs_open_vswitch]

SETTINGS = Settings(bridges={"host-a": SwitchKind.ovs, "host-b": SwitchKind.ovs})
