"""Text as bytes and as words with bytes to fall back on: any text there and back, and any ids to some text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.corpus import BOS, EOS, MESSAGES, Bytes, Words, split_words

BYTES = Bytes()
WORDS = Words.of([*MESSAGES, "Æther: ½ …  naïve, naïve\n\n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LIKELY = st.lists(st.sampled_from([*WORDS.words, *"aé …\n", "left", " ", "  ", "<s>", "</s>", "😀"])).map("".join)
VIEWS = pytest.mark.parametrize("view", [BYTES, WORDS, Words()], ids=["bytes", "words", "no words"])


@VIEWS
@given(text=TEXTS | LIKELY)
@settings(max_examples=40, deadline=None)
def test_every_text_comes_back_and_each_byte_is_counted_once(view, text):
    ids = view.encode(text)
    assert view.decode(ids) == text
    assert sum(view.token_bytes[i] for i in ids) == len(text.encode())
    assert all(view.eos < i < view.V for i in ids)


@given(TEXTS)
@settings(max_examples=40, deadline=None)
def test_byte_ids_are_pythons_own_bytes_moved_by_two(text):
    assert BYTES.encode(text) == [b + 2 for b in text.encode("utf-8")]
    assert BYTES.V == len(BYTES.pieces) == len(BYTES.token_bytes) == 258


@VIEWS
@given(st.lists(st.integers(0, 257), max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_ids_are_some_text(view, ids):
    spelt = {0: BOS.encode(), 1: EOS.encode()}
    data = b"".join(spelt.get(i, bytes([max(i - 2, 0)])) for i in ids)
    assert view.decode(ids) == data.decode("utf-8", errors="replace")


def test_half_a_character_is_shown_and_spoils_nothing_around_it():
    half = BYTES.encode("€")[:2]
    assert BYTES.decode([*BYTES.encode("a"), *half, *BYTES.encode("b")]) == "a\ufffdb"
    assert BYTES.decode([0, *half, 1]) == "<s>\ufffd</s>"


def test_a_text_cannot_say_begin_or_end():
    for view in (BYTES, WORDS):
        assert view.decode(view.encode("<s></s>")) == "<s></s>"
        assert not {view.bos, view.eos} & set(view.encode("<s></s>"))
    assert BYTES.decode([BYTES.bos, BYTES.eos]) == "<s></s>"
    assert BYTES.token_bytes[BYTES.bos] == BYTES.token_bytes[BYTES.eos] == 0


def test_the_words_of_the_six_messages_by_hand():
    view = Words.of(MESSAGES)
    assert view.words == (" left", " warehouse", " hub", "order", "package", "parcel", " carrier")
    assert view.V == 258 + 7
    assert view.encode("order left hub") == [261, 258, 260]
    assert view.encode("order left hubs") == [261, 258, *BYTES.encode(" hubs")], "a part of a word is not a word"
    assert view.token_bytes[258:] == (5, 10, 4, 5, 7, 6, 8)
    assert Words.of(MESSAGES, most=2).words == (" left", " warehouse")
    assert Words.of(MESSAGES, most=0).V == 258
    assert view == Words.of(MESSAGES)
    assert hash(view) == hash(Words.of(MESSAGES))


def test_a_word_of_one_byte_has_one_id_only():
    assert Words.of(["a é b"]).words == (" b", " é")
    assert Words.of(["a é b"]).encode("a") == BYTES.encode("a")


@given(TEXTS | LIKELY)
@settings(max_examples=40, deadline=None)
def test_words_are_cut_and_not_changed(text):
    words = split_words(text)
    assert "".join(words) == text
    assert all(split_words(word) == [word] for word in words)


def test_words_by_hand():
    assert split_words("") == []
    assert split_words("It's  3.5 kg,\nnot €4") == ["It", "'", "s", "  ", "3", ".", "5", " kg", ",", "\n", "not", " €",
                                                    "4"]


@VIEWS
def test_bad_input_is_named(view):
    for bad in (-1, view.V):
        with pytest.raises(ValueError, match=f"ids.*{bad}"):
            view.decode([2, bad])
    with pytest.raises(ValueError, match=r"text.*ud800"):
        view.encode("a\ud800b")


@pytest.mark.parametrize("words", [("left", "left"), ("two words",), ("",), ("a,",)])
def test_words_are_single_and_differ(words):
    with pytest.raises(ValueError, match="words"):
        Words(words)
