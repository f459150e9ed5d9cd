"""Text to learn from: words and ids, six messages to count by hand, and Shakespeare's plays.

The language whose truth is known has a module of its own, :mod:`reference_impl.parcels`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

BOS, EOS = "<s>", "</s>"

MESSAGES = (
    "package left warehouse",
    "package left warehouse",
    "parcel left hub",
    "parcel left warehouse",
    "order left hub",
    "order left carrier",
)
"""Six messages, small enough to count on paper; ``depot`` is a word of their vocabulary that none of them uses."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their ids: ``tokens[i]`` is the token of id ``i``; id 0 begins a sequence, id 1 ends it.

    ``separator`` stands between tokens in a text: a space for words, nothing for characters.

    >>> words = Vocabulary.of(MESSAGES, extra=["depot"])
    >>> words.encode("order left hub"), words.V
    ([5, 6, 4], 10)
    >>> words.decode([5, 6, 4]), words.tokens[words.bos], words.tokens[words.eos]
    ('order left hub', '<s>', '</s>')
    """

    tokens: tuple[str, ...]
    separator: str = " "
    bos: int = 0
    eos: int = 1

    def __post_init__(self):
        if self.tokens[:2] != (BOS, EOS):
            raise ValueError(f"tokens must begin with {BOS!r}, {EOS!r}")
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("tokens must differ from one another")

    @classmethod
    def of(cls, texts: Iterable[str], separator: str = " ", extra: Iterable[str] = ()) -> Vocabulary:
        """The vocabulary of the tokens of ``texts`` and of ``extra``, in alphabetical order."""
        found = set(extra)
        for line in texts:
            found.update(line.split(separator) if separator else line)
        return cls((BOS, EOS, *sorted(found - {""})), separator)

    @property
    def V(self) -> int:
        """How many ids there are, begin and end among them."""
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each token."""
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end. Raises ValueError for a token that is not in the vocabulary."""
        tokens = (text.split() if self.separator == " " else list(text))
        unknown = [token for token in tokens if token not in self.ids]
        if unknown:
            raise ValueError(f"text: {unknown[0]!r} is not in this vocabulary of {self.V} tokens")
        return [self.ids[token] for token in tokens]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids. Raises ValueError for an id outside [0, V)."""
        ids = [int(i) for i in ids]
        wrong = [i for i in ids if not 0 <= i < self.V]
        if wrong:
            raise ValueError(f"ids: {wrong[0]} is not an id of this vocabulary, which has ids 0 to {self.V - 1}")
        return self.separator.join(self.tokens[i] for i in ids)
