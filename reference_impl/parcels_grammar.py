"""The rules of :mod:`reference_impl.parcels`: its words, the parts of a document, and what may be said next.

One total function, :func:`step`, is the whole language; the sampler and all that is known exactly follow from it.

A *state* holds what the law of the next token hangs on: the place in the document, and what was said and still matters.
A token that is legal in a state moves it on and any other leaves it, whether the grammar or the noise emitted it; the
end token ends the document wherever it falls. So the state is a function of the tokens alone: every prefix has exactly
one state, and its next-token distribution is exact, not an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import NamedTuple

from reference_impl.corpus import BOS, EOS, Vocabulary

MECHANISMS = ("bigram", "agree", "cluster", "infer", "arith", "copy", "syntax", "free")
RATES = (0.1, 0.5, 0.9)  # a document's hidden delay rate is one of these, each with probability 1/3

AFTER = {  # the law of every slot "~": the next word hangs on the last one alone
    BOS: {"hello": 0.4, "good": 0.3, "dear": 0.3},
    "hello": {"team": 0.6, "all": 0.4},
    "good": {"morning": 0.7, "evening": 0.3},
    "dear": {"friends": 0.5, "team": 0.3, "all": 0.2},
    **{word: {"!": 1.0} for word in ("team", "all", "morning", "evening", "friends")},
    "regional": {"hub": 1.0},
    "local": {"warehouse": 1.0},
    **{word: {"checked": 0.5, "packed": 0.3, "weighed": 0.2} for word in ("was", "were")},
    "checked": {"twice": 0.6, "today": 0.3, "again": 0.1},
    "packed": {"today": 0.7, "again": 0.3},
    "weighed": {"again": 0.8, "twice": 0.2},
    "it": {"is": 1.0},
    "they": {"are": 1.0},
}
CARRIERS = ("falcon", "heron", "osprey", "swift", "raven", "plover", "curlew", "kestrel",
            "wren", "petrel", "gannet", "egret", "linnet", "dunlin", "avocet")  # from the most used to the least
REGIONS = (("lyon", "lille", "nice", "brest"), ("porto", "lisbon", "braga", "faro"), ("bonn", "berlin", "ulm", "kiel"))
IN_REGION = (0.4, 0.3, 0.2, 0.1)  # how the parcels of a region spread over its cities; carriers take regions in turn
REMARKS = ("fragile", "heavy", "light", "wet", "blue", "green", "small", "large", "soft", "long", "old", "round")
ZIPF = [1 / rank for rank in range(1, len(CARRIERS) + 1)]
SLOTS = {  # slots whose law is the same whenever they are met, and the mechanism it counts for
    "NOUN": ("free", {"parcel": 0.25, "parcels": 0.2, "package": 0.2, "packages": 0.15, "order": 0.1, "orders": 0.1}),
    "SITE": ("agree", {"regional": 0.6, "local": 0.4}),  # a parcel left the ...
    "PLACE": ("agree", {"chat": 0.7, "office": 0.3}),  # a customer left the ...
    "CARRIER": ("free", {carrier: weight / fsum(ZIPF) for carrier, weight in zip(CARRIERS, ZIPF)}),
    "REMARK": ("free", {word: 1 / len(REMARKS) for word in REMARKS}),
}
FRAMES = {  # a part of a document: words said as they stand, and slots in capitals; "~" is a slot too
    "ship": "~ ~ ~ ticket TICKET number DIGITS left the SITE ~ with CARRIER for CITY . NEXT",
    "contains": "ITEMS items BACK returned REST kept . NEXT",
    "scan": "OUTCOME MORE",
    "scanned": "NEXT",
    "note": "REMARK REMARKS",
    "noted": "NEXT",
    "later": "NOUN WHERE",
    "from": "CITY WHERE",
    "at": "the SITE ~ WHERE",
    "be": "~ ~ . NEXT",
    "customer": "left the PLACE . END",
    "bot": "says number NUMBER for COPYCITY , PRONOUN ~ OUTCOME . END",
    "{": '"number" : NUMBER , "city" : COPYCITY , "status" : OUTCOME } END',
}
FOLLOW = {  # what a NEXT slot says: the first word of the part that follows
    "ship": {"contains": 0.6, "scan": 0.4},
    "contains": {"scan": 1.0},
    "scanned": {"note": 0.25, "later": 0.4, "customer": 0.1, "bot": 0.1, "{": 0.15},
    "noted": {"later": 0.4, "customer": 0.2, "bot": 0.2, "{": 0.2},
    "be": {"customer": 0.2, "bot": 0.4, "{": 0.4},
}
WHERE = {"later": {"from": 0.35, "at": 0.25}, "from": {"at": 0.4}, "at": {}}  # what is left over goes to was or were


@dataclass(frozen=True)
class Language:
    """The settings of the language; small ones (two digits, two scans) can be enumerated in full."""

    digits: int = 10  # how many digits there are: "0", "1", ...
    number_length: int = 3  # digits of a tracking number
    max_scans: int = 8
    noise: float = 0.002  # the probability that a token is drawn from the whole vocabulary

    def __post_init__(self):
        for name, low, high in (("digits", 2, 10), ("number_length", 1, 10), ("max_scans", 1, 100), ("noise", 0, 0.5)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie between {low} and {high}, not {getattr(self, name)}")

    @cached_property
    def frames(self) -> dict[str, tuple[str, ...]]:
        """FRAMES as tuples, with one slot for each digit of a number; COPYi repeats the i-th word that was kept."""
        n = self.number_length
        runs = {"DIGITS": ["DIGIT"] * n, "NUMBER": [f"COPY{i}" for i in range(n)], "COPYCITY": [f"COPY{n}"]}
        return {part: tuple(word for slot in frame.split() for word in runs.get(slot, [slot]))
                for part, frame in FRAMES.items()}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Words and ids; the begin token is never drawn, the end token is."""
        words = [BOS, EOS, *map(str, range(self.digits)), *(word for _, law in SLOTS.values() for word in law)]
        words += [*(city for region in REGIONS for city in region), "delayed", "cleared", "scan"]
        words += [word for law in (*AFTER.values(), AFTER, *FOLLOW.values(), *WHERE.values()) for word in law]
        words += [word for frame in self.frames.values() for word in frame if not _is_slot(word)]
        return Vocabulary(tuple(dict.fromkeys(words)))


PARCELS = Language()


class State(NamedTuple):
    """Where a document stands: a part, a slot of it, and what was said that later words hang on."""

    part: str = "ship"
    slot: int = 0
    word: str = BOS  # the last word, kept where a "~" follows
    plural: bool = False  # whether the last noun was plural
    region: int = -1  # of the carrier
    items: int = 0  # until it is said how many came back
    rest: int = -1  # what is kept, until it is said
    late: int = 0  # scans that said "delayed"
    clear: int = 0  # scans that said "cleared"
    kept: tuple[str, ...] = ()  # the tracking number and the city, which are only ever repeated


END = State("", -1, "")
Move = tuple[str, float, State, str]


def _is_slot(word: str) -> bool:
    return word == "~" or word.isupper()


def delay_rate(late: int, clear: int, accident: float = 0.0) -> float:
    """The probability that the grammar's next scan says "delayed", after ``late`` that did and ``clear`` that did not.

    Bayes' rule on the counts, with the three RATES equally likely before the first scan. ``accident`` is the small
    weight that noise adds to each of the two words, whatever the rate.

    >>> round(delay_rate(0, 0), 4), round(delay_rate(3, 0), 4), round(delay_rate(1, 1), 4)
    (0.5, 0.8406, 0.5)
    """
    weights = [(r + accident) ** late * (1 - r + accident) ** clear for r in RATES]
    return fsum(w * r for w, r in zip(weights, RATES)) / fsum(weights)  # sum() rounds otherwise from 3.12 on


def step(state: State, language: Language = PARCELS) -> list[Move]:
    """What the grammar may say next: ``[(token, p, next state, mechanism)]``; the p sum to 1, the end state has none.

    >>> [(token, p, mechanism) for token, p, _, mechanism in step(State())]
    [('hello', 0.4, 'bigram'), ('good', 0.3, 'bigram'), ('dear', 0.3, 'bigram')]
    """
    if state == END:
        return []
    slot = language.frames[state.part][state.slot]
    on = state._replace(slot=state.slot + 1, word="")
    if not _is_slot(slot):
        return [(slot, 1.0, on, "syntax")]
    if slot == "~":
        return [(word, p, on._replace(word=word), "bigram") for word, p in AFTER[state.word].items()]
    if slot in SLOTS:
        kind, law = SLOTS[slot]
        return [(word, p, _remember(slot, i, word, on), kind) for i, (word, p) in enumerate(law.items())]
    if slot == "TICKET":  # some digits, then a noun: a number that always stood at one place could be found there
        nouns = SLOTS["NOUN"][1].items()
        return [*((str(digit), 2 / 3 / language.digits, state, "free") for digit in range(language.digits)),
                *((word, p / 3, _remember("NOUN", i, word, on), "free") for i, (word, p) in enumerate(nouns))]
    if slot == "DIGIT":
        digits = map(str, range(language.digits))
        return [(digit, 1 / language.digits, on._replace(kept=(*on.kept, digit)), "free") for digit in digits]
    if slot == "CITY":
        ship = on.part == "ship"
        return [(city, p, on._replace(kept=(*on.kept, city)) if ship else on, "cluster")
                for city, p in zip(REGIONS[state.region], IN_REGION)]
    if slot.startswith("COPY"):
        return [(state.kept[int(slot[4:])], 1.0, on, "copy")]
    if slot == "ITEMS":
        return [(str(n), 1 / (language.digits - 1), on._replace(items=n), "free") for n in range(1, language.digits)]
    if slot == "BACK":
        n = state.items
        return [(str(back), 1 / (n + 1), on._replace(items=0, rest=n - back), "arith") for back in range(n + 1)]
    if slot == "REST":
        return [(str(state.rest), 1.0, on._replace(rest=-1), "arith")]
    if slot == "OUTCOME":
        p = delay_rate(on.late, on.clear, language.noise / (1 - language.noise) / (language.vocabulary.V - 1))
        return [("delayed", p, on._replace(late=on.late + 1), "infer"),
                ("cleared", 1 - p, on._replace(clear=on.clear + 1), "infer")]
    if slot == "PRONOUN":
        word = "they" if state.plural else "it"
        return [(word, 1.0, on._replace(word=word), "agree")]
    return _turn(slot, state, language)


def _remember(slot: str, i: int, word: str, on: State) -> State:
    """The state after the ``i``-th word of a slot with a law of its own."""
    if slot == "NOUN":
        return on._replace(plural=word.endswith("s"))
    if slot == "CARRIER":
        return on._replace(region=i % len(REGIONS))
    return on._replace(word=word) if slot == "SITE" else on


def _turn(slot: str, state: State, language: Language) -> list[Move]:
    """The slots where a part repeats itself, gives way to another, or ends the document."""
    def to(part: str, word: str = "") -> State:
        return state._replace(part=part, slot=0, word=word)

    if slot == "NEXT":
        return [(word, p, to(word), "free") for word, p in FOLLOW[state.part].items()]
    if slot == "REMARKS":
        return [*((word, 0.65 / len(REMARKS), state, "free") for word in REMARKS), (".", 0.35, to("noted"), "free")]
    if slot == "MORE":
        if state.late + state.clear >= language.max_scans:
            return [(".", 1.0, to("scanned"), "free")]
        return [("scan", 0.72, to("scan"), "free"), (".", 0.28, to("scanned"), "free")]
    if slot == "WHERE":
        law, be = WHERE[state.part], "were" if state.plural else "was"
        places = [(word, p, to(word), "agree") for word, p in law.items()]
        return [*places, (be, 1 - fsum(law.values()), to("be", be), "agree")]
    return [(EOS, 1.0, END, "syntax")]


def advance(state: State, token: str, language: Language = PARCELS) -> State:
    """The state after a token, whichever it is: a legal one moves on, the end token ends, any other leaves the state.

    >>> advance(State(), "parcel") == State(), advance(State(), "</s>") == END
    (True, True)
    """
    return next((after for word, _, after, _ in step(state, language) if word == token), END if token == EOS else state)
