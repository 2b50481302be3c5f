"""The cases: what a carrier's evening is made of, each a row."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from service.simulator.conformance import acts
from service.simulator.conformance.carrier import Carrier
from service.simulator.conformance.texts import BODY_WAYS, NUMBERS, TEXTS, WAYS

Act = Callable[[Carrier], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `says` is what must hold, in a sentence; `of_texts`: only where the protocol sends messages."""

    group: str
    name: str
    says: str
    act: Act
    of_texts: bool = False


TAKEN = "the protocol's own yes, and stored once as what was sent"
DAMAGED = "an answer; where nothing was stored, the whole one is taken"
_WAITING, _NOT_WAITING = True, False
CASES: tuple[Case, ...] = (
    Case("answers", "names its request", "x-portal1400-request, and never to be cached", acts.named),
    *(
        Case("texts", each.name, f"taken, and read as {each.reading}", partial(acts.text, each), of_texts=True)
        for each in TEXTS
    ),
    *(Case("numbers", name, TAKEN, partial(acts.number, prefix), of_texts=True) for name, prefix in NUMBERS),
    Case("repeats", "twice", "the same bytes again, stored once", acts.twice),
    Case("repeats", "eight at once", "the same bytes for all, stored once", acts.at_once),
    Case("repeats", "two gifts alike", "two ids of one number with one text are two gifts", acts.same_text_again),
    Case("repeats", "out of order", "ids in any order are taken", acts.out_of_order),
    Case("repeats", "same id, other content", "the protocol's word for it, else its yes", acts.conflict),
    Case("times", "a message of three days ago", "taken: a replay is legal", partial(acts.late, 3)),
    Case("times", "a message of 300 days ago", "taken: a replay is legal", partial(acts.late, 300)),
    Case("times", "a message time seven hours ahead", "taken, by our time of receipt", acts.early, of_texts=True),
    Case("times", "an attempt an hour old", "refused where its time is signed, else taken", acts.old_attempt),
    Case("batches", "as many as one may hold", "all stored, answered in order", acts.batch),
    Case("batches", "with a repeat in it", "the repeat is one", acts.batch_with_repeat),
    Case("proof", "a wrong secret", "refused like an account that is not there; taken when right", acts.wrong_secret),
    Case("proof", "no proof", "refused, nothing stored", acts.no_proof),
    Case("damage", "broken off in the middle", DAMAGED, partial(acts.damaged, acts.halved)),
    Case("damage", "empty", DAMAGED, partial(acts.damaged, acts.emptied)),
    Case("damage", "bytes in disorder", DAMAGED, partial(acts.damaged, acts.backwards)),
    Case("http", "too large", "413", acts.too_large),
    Case("http", "another method", "405", acts.wrong_method),
    Case("http", "a protocol that is not there", "404", acts.wrong_protocol),
    *(Case("http", name, TAKEN, partial(acts.way, way)) for name, way in WAYS),
    *(Case("http", name, TAKEN, partial(acts.body_way, way)) for name, way in BODY_WAYS),
    Case("http", "ten over one connection", "answered each, in order", partial(acts.one_connection, _WAITING)),
    Case("http", "ten without waiting", "answered each, in order", partial(acts.one_connection, _NOT_WAITING)),
    Case("breaks", "cut in the middle, then again", "stored once", partial(acts.cut, 0.6)),
    Case("breaks", "cut before the answer, then again", "stored once", partial(acts.cut, 1.0)),
    Case("breaks", "stops half way", "others go on; 408, or closed", acts.hanging),
)  # fmt: skip
