"""`parcels`: the tracking log of an invented parcel service, a language whose truth is known.

One function, :func:`step`, is the whole language; the sampler, the exact next-token distribution, the exact entropy and
the distance of a model to the truth are all computed from it.

A *state* holds what the law of the next token hangs on: the place in the document, and what was said and still matters.
A token that is legal in a state moves it on and any other leaves it, whether the grammar or the noise emitted it; the
end token ends the document wherever it falls. So the state is a function of the tokens alone: every prefix has exactly
one state, and its next-token distribution is exact, not an estimate.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

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
    "was": {"checked": 0.5, "packed": 0.3, "weighed": 0.2},
    "were": {"checked": 0.5, "packed": 0.3, "weighed": 0.2},
    "checked": {"twice": 0.6, "today": 0.3, "again": 0.1},
    "packed": {"today": 0.7, "again": 0.3},
    "weighed": {"again": 0.8, "twice": 0.2},
    "it": {"is": 1.0},
    "they": {"are": 1.0},
}
NOUNS = {"parcel": 0.25, "parcels": 0.2, "package": 0.2, "packages": 0.15, "order": 0.1, "orders": 0.1}
CARRIERS = ("falcon", "heron", "osprey", "swift", "raven", "plover", "curlew", "kestrel",
            "wren", "petrel", "gannet", "egret", "linnet", "dunlin", "avocet")  # from the most used to the least
REGIONS = (("lyon", "lille", "nice", "brest"), ("porto", "lisbon", "braga", "faro"), ("bonn", "berlin", "ulm", "kiel"))
IN_REGION = (0.4, 0.3, 0.2, 0.1)  # how the parcels of a region spread over its cities
REMARKS = ("fragile", "heavy", "light", "wet", "blue", "green", "small", "large", "soft", "long", "old", "round")

FRAMES = {  # a part of a document: words to be said as they stand, and slots in capitals
    "ship": "~ ~ ~ NOUN number DIGITS left the SITE ~ with CARRIER for CITY . NEXT",
    "contains": "ITEMS items BACK returned REST kept . NEXT",
    "scan": "OUTCOME MORE",
    "note": "REMARK REMARKS",
    "later": "NOUN WHERE",
    "from": "CITY WHERE",
    "at": "the SITE ~ WHERE",
    "be": "~ ~ . NEXT",
    "customer": "left the PLACE . END",
    "bot": "says number COPY for COPYCITY , PRONOUN ~ OUTCOME . END",
    "{": '"number" : COPY , "city" : COPYCITY , "status" : OUTCOME } END',
    "scanned": "NEXT",
    "noted": "NEXT",
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
    """The settings of the language; smaller ones (two digits, two scans) can be enumerated in full."""

    digits: int = 10  # how many digits there are: "0", "1", ...
    number_length: int = 4  # digits of a tracking number
    max_scans: int = 8
    noise: float = 0.002  # the probability that a token is drawn from the whole vocabulary

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Words and ids; sequences are lists of ids without the begin and end tokens."""
        words = [word for law in (AFTER, *AFTER.values(), NOUNS) for word in law]
        words += [*CARRIERS, *(city for region in REGIONS for city in region), *REMARKS]
        words += [word for frame in self.frames.values() for word in frame if not _is_slot(word)]
        words += ["delayed", "cleared", "chat", "office", "from", "at", "scan", *FOLLOW["scanned"], "contains"]
        words = [word for word in dict.fromkeys(words) if word not in (BOS, EOS)]
        return Vocabulary((BOS, EOS, *(str(d) for d in range(self.digits)), *words))

    @cached_property
    def frames(self) -> dict[str, tuple[str, ...]]:
        """FRAMES as tuples, with one slot for each digit of a number."""
        runs = {"DIGITS": ["DIGIT"] * self.number_length, "COPY": [f"COPY{i}" for i in range(self.number_length)]}
        return {name: tuple(word for slot in frame.split() for word in runs.get(slot, [slot]))
                for name, frame in FRAMES.items()}


PARCELS = Language()


class State(NamedTuple):
    """Where a document stands. A field is emptied as soon as nothing later hangs on it."""

    part: str = "ship"
    slot: int = 0
    word: str = BOS  # the last word, kept where a "~" follows
    plural: bool = False  # whether the last noun was plural
    region: int = -1  # of the carrier
    city: str = ""
    number: tuple[str, ...] = ()
    items: int = 0
    rest: int = -1
    late: int = 0  # scans that said "delayed", and "cleared"
    clear: int = 0


END = State("", -1, "")
Move = tuple[str, float, State, str]


def _is_slot(word: str) -> bool:
    return word == "~" or word.isupper() or word[:4] == "COPY"


def delay_rate(late: int, clear: int, accident: float = 0.0) -> float:
    """The probability that the grammar's next scan says "delayed", after ``late`` that did and ``clear`` that did not.

    Bayes' rule on the counts, with the three RATES equally likely before the first scan. ``accident`` is the small
    weight that noise adds to each of the two words, whatever the rate.

    >>> round(delay_rate(0, 0), 4), round(delay_rate(3, 0), 4), round(delay_rate(1, 1), 4)
    (0.5, 0.8406, 0.5)
    """
    weights = [(r + accident) ** late * (1 - r + accident) ** clear for r in RATES]
    return sum(w * r for w, r in zip(weights, RATES)) / sum(weights)


def step(state: State, language: Language = PARCELS) -> list[Move]:
    """What the grammar may say next: ``[(token, p, next state, mechanism)]``; the p sum to 1, the end state has none.

    >>> [(token, p, mechanism) for token, p, _, mechanism in step(State())]
    [('hello', 0.4, 'bigram'), ('good', 0.3, 'bigram'), ('dear', 0.3, 'bigram')]
    """
    if state == END:
        return []
    slot = language.frames[state.part][state.slot]
    on = state._replace(slot=state.slot + 1, word="")
    if slot == "~":
        return [(word, p, on._replace(word=word), "bigram") for word, p in AFTER[state.word].items()]
    if not _is_slot(slot):
        return [(slot, 1.0, on, "syntax")]
    if slot in ("NEXT", "REMARKS", "MORE"):
        return _turn(slot, state, on, language)
    if slot == "NOUN":
        return [(word, p, on._replace(plural=word.endswith("s")), "free") for word, p in NOUNS.items()]
    if slot == "DIGIT":
        digits = map(str, range(language.digits))
        return [(d, 1 / language.digits, on._replace(number=(*state.number, d)), "free") for d in digits]
    if slot == "SITE":
        return [("regional", 0.6, on._replace(word="regional"), "agree"), ("local", 0.4, on._replace(word="local"), "agree")]
    if slot == "PLACE":
        return [("chat", 0.7, on, "agree"), ("office", 0.3, on, "agree")]
    if slot == "CARRIER":
        weights = [1 / (rank + 1) for rank in range(len(CARRIERS))]  # Zipf's law
        return [(carrier, w / sum(weights), on._replace(region=rank % len(REGIONS)), "free")
                for rank, (carrier, w) in enumerate(zip(CARRIERS, weights))]
    if slot == "CITY":
        cities = zip(REGIONS[state.region], IN_REGION)
        return [(city, p, on._replace(city=state.city or city), "cluster") for city, p in cities]
    if slot == "ITEMS":
        most = language.digits - 1
        return [(str(n), 1 / most, on._replace(items=n), "free") for n in range(1, most + 1)]
    if slot == "BACK":
        n = state.items
        return [(str(r), 1 / (n + 1), on._replace(items=0, rest=n - r), "arith") for r in range(n + 1)]
    if slot == "REST":
        return [(str(state.rest), 1.0, on._replace(rest=-1), "arith")]
    if slot == "OUTCOME":
        eta = language.noise / (language.vocabulary.V - 1) / (1 - language.noise)
        p, seen = delay_rate(state.late, state.clear, eta), state.part == "scan"
        return [("delayed", p, on._replace(late=state.late + seen), "infer"),
                ("cleared", 1 - p, on._replace(clear=state.clear + seen), "infer")]
    if slot == "REMARK":
        return [(word, 1 / len(REMARKS), on, "free") for word in REMARKS]
    if slot == "WHERE":
        law = WHERE[state.part]
        be = "were" if state.plural else "was"
        moves = [(word, p, on._replace(part=word, slot=0), "agree") for word, p in law.items()]
        return [*moves, (be, 1 - sum(law.values()), on._replace(part="be", slot=0, word=be), "agree")]
    if slot == "PRONOUN":
        word = "they" if state.plural else "it"
        return [(word, 1.0, on._replace(word=word), "agree")]
    if slot == "COPYCITY":
        return [(state.city, 1.0, on, "copy")]
    if slot == "END":
        return [(EOS, 1.0, END, "syntax")]
    return [(state.number[int(slot[4:])], 1.0, on, "copy")]


def _turn(slot: str, state: State, on: State, language: Language) -> list[Move]:
    """The slots where a part goes on, or another begins."""
    if slot == "NEXT":
        law = FOLLOW["ship" if state.part == "ship" else state.part]
        return [(word, p, on._replace(part=word, slot=0), "free") for word, p in law.items()]
    if slot == "REMARKS":
        moves = [(word, 0.65 / len(REMARKS), state, "free") for word in REMARKS]
        return [*moves, (".", 0.35, on._replace(part="noted", slot=0), "free")]
    more = 0.72 if state.late + state.clear < language.max_scans else 0.0
    stop = (".", 1 - more, on._replace(part="scanned", slot=0), "free")
    return [("scan", more, on._replace(slot=0), "free"), stop] if more else [stop]


@lru_cache(maxsize=1 << 17)
def _law(state: State, language: Language) -> tuple[tuple[int, ...], tuple[float, ...], tuple[State, ...], str]:
    """:func:`step` as ids, probabilities, next states, and the one mechanism of the state."""
    tokens, p, states, mechanisms = zip(*step(state, language))
    ids = language.vocabulary.ids
    return tuple(ids[token] for token in tokens), p, states, mechanisms[0]


def advance(state: State, token: int, language: Language = PARCELS) -> State:
    """The state after a token id, whichever it is: legal moves on, the end token ends, any other leaves the state."""
    if token == language.vocabulary.eos:
        return END
    ids, _, states, _ = _law(state, language)
    return states[ids.index(token)] if token in ids else state


def _checked(prefix: Iterable[int], name: str, language: Language) -> list[int]:
    ids = [int(i) for i in prefix]
    for i in ids:
        if not 1 < i < language.vocabulary.V:
            raise ValueError(f"{name}: {i} is not the id of a word (2 to {language.vocabulary.V - 1}; "
                             "begin and end tokens are not part of a sequence)")
    return ids


def state_after(prefix: Iterable[int], language: Language = PARCELS) -> State:
    """The state after the ids of a prefix. Raises ValueError for an id that is not a word's."""
    state = State()
    for token in _checked(prefix, "prefix", language):
        state = advance(state, token, language)
    return state


def distribution(state: State, language: Language = PARCELS) -> np.ndarray:
    """The exact law of the next token in a state, noise included: (V,) float64; only the begin token has 0."""
    V = language.vocabulary.V
    row = np.full(V, language.noise / (V - 1))
    row[language.vocabulary.bos] = 0.0
    ids, p, _, _ = _law(state, language)
    row[list(ids)] += (1 - language.noise) * np.array(p)
    return row


def next_distribution(prefix: Iterable[int], language: Language = PARCELS) -> np.ndarray:
    """The exact law of the token after a prefix of ids: (V,) float64. Raises ValueError for an id that is not a word's.

    >>> row = next_distribution([])
    >>> round(float(row.sum()), 12), PARCELS.vocabulary.tokens[row.argmax()]
    (1.0, 'hello')
    """
    return distribution(state_after(prefix, language), language)


def mechanism(prefix: Iterable[int], language: Language = PARCELS) -> str:
    """Which of MECHANISMS decides the token after a prefix of ids.

    >>> mechanism(PARCELS.vocabulary.encode("hello team ! parcels"))
    'syntax'
    """
    return _law(state_after(prefix, language), language)[3]


def sample(n_documents: int, seed: int, language: Language = PARCELS) -> list[list[int]]:
    """``n_documents`` documents as lists of ids, without begin and end; the same for the same seed on every Python.

    >>> text(sample(1, seed=0)[0])
    ''
    """
    if n_documents < 0:
        raise ValueError(f"n_documents must not be negative, not {n_documents}")
    uniform = random.Random(seed).random  # its stream is fixed by Python's documentation; numpy's is not
    V, eos, noise = language.vocabulary.V, language.vocabulary.eos, language.noise
    documents = []
    for _ in range(n_documents):
        state, ids = State(), []
        while state != END:
            u = uniform()
            tokens, p, states, _ = _law(state, language)
            if u < noise:
                token = 1 + int(u / noise * (V - 1))
                state = advance(state, token, language)
            else:
                u, i, last = (u - noise) / (1 - noise), 0, len(p) - 1
                while i < last and u >= p[i]:
                    u -= p[i]
                    i += 1
                token, state = tokens[i], states[i]
            if token != eos:
                ids.append(token)
        documents.append(ids)
    return documents


def text(ids: Iterable[int], language: Language = PARCELS) -> str:
    """The words of a document, with a space between them.

    >>> text([2, 3, 4])
    '0 1 2'
    """
    return language.vocabulary.decode(ids)
