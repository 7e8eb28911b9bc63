"""A migration in doubt, settled by a person who knows that one of its hosts will not answer again."""

from __future__ import annotations

from godwit.contract.host import Host, Order, Resolve
from godwit.core.errors import GodwitError, Refused, Unreachable
from godwit.core.migration import Migration, SettleRequest
from godwit.core.ownership import OWNERS, Cue, Ownership
from godwit.core.verdict import Statement
from godwit.manager.book import Book

GIVE_UP = frozenset(
    {Ownership.given, Ownership.last, Ownership.armed, Ownership.hold, Ownership.keep, Ownership.returned}
)
"""What a host may be in that is to give up."""


async def settle(migration: Migration, request: SettleRequest, *, hosts: dict[str, Host], book: Book) -> None:
    """The journals say what the person said, the one that gives up first; how it ends, the hosts tell as ever.

    `Refused`, and nothing was touched, if a host that answers says otherwise. `Unreachable` if the one that is to run
    it does not answer.
    """
    order = Order(migration=migration.id, attempt=migration.attempt, epoch=migration.epoch, vm=migration.vm)
    heard = {name: await _hear(host, order) for name, host in hosts.items()}
    losers = [name for name in hosts if name != request.runs_on]
    for name in losers:
        _refuse_owner(name, heard[name], migration)
    if request.runs_on in hosts and heard[request.runs_on] is None:
        raise Unreachable(f"{request.runs_on} does not answer, so nothing can be started there: start its agent")
    await book.settle_by_hand(request.runs_on, request.proof)
    for name in losers:
        said = heard[name]
        if said is not None and said.state in GIVE_UP:
            await hosts[name].resolve(_words(order, Cue.given_up, request))
    if request.runs_on in hosts:
        cue = Cue.restored if request.runs_on == migration.source else Cue.taken_over
        await hosts[request.runs_on].resolve(_words(order, cue, request))


async def _hear(host: Host, order: Order) -> Statement | None:
    try:
        return await host.testify(order)
    except GodwitError:
        return None


def _refuse_owner(name: str, said: Statement | None, migration: Migration) -> None:
    if said is not None and said.state in OWNERS | {Ownership.died}:
        raise Refused(
            f"the journal of {name} says {said.state}: {migration.vm} is its own, and no word of a person changes that",
            "not-in-doubt",
        )


def _words(order: Order, cue: Cue, request: SettleRequest) -> Resolve:
    return Resolve.model_validate(order.model_dump() | {"cue": cue, "proof": request.proof})
