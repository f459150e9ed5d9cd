"""Whose upload is it: the student behind a path of Canvas, Moodle, nbgrader's exchange or a plain folder.

A student has an *id*, which names folders and rows and holds ``[A-Za-z0-9._-]`` only, and the name that was *shown*,
which is kept beside it. Ids stay the same from one intake to the next: ``names.csv`` remembers them.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from autograder.gradebook import safe
from autograder.uploads import ARCHIVE, NOTEBOOK, UNREADABLE

CANVAS = re.compile(r"^(?P<name>[^_/]+?)(?P<late>_LATE)?_(?P<user>\d+)_(?P<upload>\d+)_(?P<rest>.+)$")
MOODLE = re.compile(r"^(?P<name>.*?)_(?P<user>\d+)_assignsubmission_(file|onlinetext)_?(?P<rest>.*)$")
EXCHANGE = re.compile(
    r"^(?P<name>[^+]+)\+(?P<stem>[^+]+)\+(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( \w+| [+-]\d{4})?)(\+\w+)?$")
COPY = re.compile(r"( ?\(\d+\)|[-_ ]\d{1,3}|[-_ ]+(copy|kopie|copie)\d*)$", re.IGNORECASE)
COPY_OF = re.compile(r"^(copy of|kopie von|copie de|copia de)\s+", re.IGNORECASE)
HOLDERS = {"submitted", "submissions", "uploads", "inbound"}
COLUMNS = ("id", "name", "key")
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")
LETTERS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "œ": "oe", "ı": "i"})


@dataclass(frozen=True, order=True)
class Owner:
    """A student as an upload names them; ``key`` tells two students of one name apart."""

    shown: str
    key: str


def base_name(file_name: str) -> str:
    """A notebook's name without what browsers and learning platforms add to it.

    >>> base_name("bigrams (1).ipynb"), base_name("Copy of bigrams.ipynb"), base_name("bigrams-2.ipynb.txt")
    ('bigrams', 'bigrams', 'bigrams')
    """
    name, before = COPY_OF.sub("", NOTEBOOK.sub("", file_name)).strip(), None
    while name != before:
        before, name = name, COPY.sub("", name).strip()
    return name


def version(file_name: str) -> int:
    """Which copy a name says it is: browsers and Canvas number them.

    >>> version("bigrams (2).ipynb"), version("bigrams.ipynb")
    (2, 0)
    """
    match = re.search(r"(?:\((\d+)\)|-(\d{1,3}))$", NOTEBOOK.sub("", file_name))
    return int(match[1] or match[2]) if match else 0


def whose(parts: tuple[str, ...], argument: str, stems: Collection[str]) -> tuple[Owner, str, str]:
    """The owner of a path, the notebook's own file name, and the time that nbgrader's exchange wrote into the path.

    ``argument`` is the name of the folder or archive that was given; it names the student where nothing else does.

    >>> whose(("doejane_LATE_17_99_bigrams-1.ipynb",), "canvas.zip", ["bigrams"])[:2]
    (Owner(shown='doejane', key='canvas:17'), 'bigrams-1.ipynb')
    >>> whose(("Ana / María_42_assignsubmission_file_", "bigrams.ipynb"), "m", ["bigrams"])[0].shown
    'Ana / María'
    >>> whose(("ada", "bigrams", "bigrams.ipynb"), "submitted", ["bigrams"])[0].shown
    'ada'
    >>> whose(("bob_bigrams.ipynb",), "downloads", ["bigrams"])[0].shown
    'bob'
    """
    for i, part in enumerate(parts):
        if match := EXCHANGE.match(part):
            return Owner(match["name"], match["name"]), parts[-1], match["when"]
        if match := MOODLE.match(part):
            shown = "/".join((*parts[:i], match["name"])).strip(" /") or f"participant {match['user']}"
            return Owner(shown, f"{shown}\x1fmoodle:{match['user']}"), match["rest"] or parts[-1], ""
        if match := CANVAS.match(part):
            name = match["rest"] if i == len(parts) - 1 else parts[-1]
            return Owner(match["name"], f"canvas:{match['user']}"), name, ""
    if len(parts) > 1:
        shown = ARCHIVE.sub("", parts[0])
        return Owner(shown, shown), parts[-1], ""
    shown = alone(parts[0], stems) or ARCHIVE.sub("", argument)
    return Owner(shown, shown), parts[0], ""


def alone(file_name: str, stems: Collection[str]) -> str:
    """The student whom the name of a notebook that lies in no folder names, if it does.

    >>> [alone(name, ["bigrams"]) for name in ("bigrams_ada.ipynb", "ada.ipynb", "bigrams (1).ipynb")]
    ['ada', 'ada', '']
    """
    name = UNREADABLE.sub("", ARCHIVE.sub("", base_name(file_name)))
    for stem in stems:
        if re.search(rf"(^|[^A-Za-z0-9]){re.escape(stem)}($|[^A-Za-z0-9])", name, re.IGNORECASE):
            return re.sub(re.escape(stem), "", name, flags=re.IGNORECASE).strip(" _-.")
    return name


def common_top(paths: Collection[tuple[str, ...]], argument: str, stems: Collection[str]) -> int:
    """How many leading folders of an upload only hold the others: 1 for ``submissions/ada/...``, else 0.

    >>> common_top([("class", "ada", "a.ipynb"), ("class", "bob", "a.ipynb")], "x.zip", ["bigrams"])
    1
    """
    tops = {parts[0] for parts in paths}
    if len(tops) != 1 or any(p.match(next(iter(tops))) for p in (EXCHANGE, MOODLE, CANVAS)):
        return 0
    inside = {parts[1] for parts in paths if len(parts) > 2} - set(stems)
    top = next(iter(tops))
    named = top.lower() in HOLDERS or top == ARCHIVE.sub("", argument)
    return int(bool(inside) and (named or len(inside) > 1))


def readable(text: str) -> str:
    r"""``text`` on one line, for a terminal or a table: no control character, valid UTF-8.

    >>> readable("a\n\x1b[1mb")
    'a [1mb'
    """
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in valid).split())


def slug(shown: str) -> str:
    """The id that a shown name makes: accents fall away, anything else that is not allowed becomes a hyphen.

    >>> slug("ada_l-2"), slug("Zoë O'Brien / Jr"), slug("../.."), slug("李")
    ('ada_l-2', 'Zoe-O-Brien-Jr', 's-ee97', 's-1b36')
    """
    if ID.fullmatch(shown):
        return shown
    folded = unicodedata.normalize("NFKD", shown.translate(LETTERS))
    kept = "".join(c for c in folded if not unicodedata.combining(c))
    made = re.sub(r"[^A-Za-z0-9._]+", "-", kept).strip("-._")[:60].rstrip("-._")
    return made or f"s-{mark(shown)}"


def mark(key: str) -> str:
    """Four hex digits that tell keys apart."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=2).hexdigest()


class Roster:
    """Which id each student has, remembered in ``names.csv``: id, name, key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        if path.exists():
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                for row in csv.DictReader(file):  # a person may have edited it: what lacks an id counts for nothing
                    made, name, key = (re.sub(r"^'(?=[=+@\-＝＋－＠])", "", row.get(c) or "") for c in COLUMNS)
                    if ID.fullmatch(made):
                        self.ids[key or name], self.shown[made] = made, name

    def id_of(self, owner: Owner) -> str:
        """The owner's id: the one they had, or a new one that no other student has."""
        if owner.key not in self.ids:
            made = slug(owner.shown)
            taken = {known.casefold() for known in self.ids.values()}
            while made.casefold() in taken:
                made = f"{slug(owner.shown)}-{mark(owner.key + made)}"
            self.ids[owner.key] = made
            self.shown[made] = readable(owner.shown)
        return self.ids[owner.key]

    def save(self) -> None:
        """Write ``names.csv``; a spreadsheet may open it."""
        part = self.path.with_name("names.csv.part")
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(COLUMNS)
            for key, made in sorted(self.ids.items(), key=lambda pair: pair[1]):
                writer.writerow([safe(made), safe(self.shown[made]), safe(key)])
        part.replace(self.path)
