"""Which messages go in one callback."""

import random
from collections import deque
from collections.abc import Iterable, Iterator

from gateways.sender import Sms
from service.simulator.message import Delivery, Fault, Planned

BATCHED_SHARE = 0.6
BATCH_MAX = 20
BATCH_SECONDS = 1.0
"""Messages that a partner whose protocol has batches sends so; how many, and for how long it gathers them."""


def bundled(planned: Iterable[Planned], chance: random.Random) -> Iterator[Delivery]:
    """Callbacks: one for each message, but where a protocol has batches, some gathered into those.

    A message that meets with a conflict or a broken connection goes alone. One that is repeated may stand twice
    in its batch.
    """
    gathering: dict[str, tuple[deque[Planned], int]] = {}
    for each in planned:
        for account, (waiting, _) in list(gathering.items()):
            if each.due_seconds - waiting[0].due_seconds > BATCH_SECONDS:
                yield _batch(gathering.pop(account)[0], each.due_seconds)
        is_alone = each.fault in (Fault.CONFLICTS, Fault.DISCONNECT) or chance.random() >= BATCHED_SHARE
        if each.link.batch_max == 1 or is_alone:
            yield Delivery((each.sms,), each.link, each.due_seconds, each.fault)
            continue
        drawn = deque[Planned](), chance.randint(2, min(BATCH_MAX, each.link.batch_max))
        waiting, size = gathering.setdefault(each.link.account, drawn)
        waiting.append(each)
        if len(waiting) >= size:
            yield _batch(gathering.pop(each.link.account)[0], each.due_seconds)
    for waiting, _ in gathering.values():
        yield _batch(waiting, waiting[-1].due_seconds)


def _batch(waiting: Iterable[Planned], due_seconds: float) -> Delivery:
    messages: list[Sms] = []
    link = None
    for each in waiting:
        messages += [each.sms, each.sms] if each.fault is Fault.DUPLICATES else [each.sms]
        link = each.link
    assert link is not None  # noqa: S101 -- only ever called with something gathered
    return Delivery(tuple(messages), link, due_seconds)
