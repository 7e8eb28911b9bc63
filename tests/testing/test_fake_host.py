"""The fake host keeps the suite that the real agent keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from godwit.testing.clock import run
from godwit.testing.host_suite import SUITE, Pair
from godwit.testing.world import PINNED, SPEC, World


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_fake(case: Callable[[Pair], Awaitable[None]]) -> None:
    async def story() -> None:
        world = World()
        await case(Pair(world.source, world.destination, SPEC, PINNED))

    run(story())
