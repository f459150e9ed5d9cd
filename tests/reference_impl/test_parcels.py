"""The language is what it says it is: held against an exact filter that assumes nothing, and against values by hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl import parcels
from reference_impl.parcels import END, MECHANISMS, PARCELS, RATES, Language, State, next_distribution
from reference_impl.parcels_grammar import AFTER, REGIONS

WORDS = PARCELS.vocabulary
SMALL = Language(digits=2, number_length=2, max_scans=2, noise=0.2)


def said(text: str, language: Language = PARCELS) -> dict[str, float]:
    """The grammar's law after a text, by word."""
    *_, (ids, p, _) = parcels.walk(language.vocabulary.encode(text), language)
    return {language.vocabulary.tokens[i]: x for i, x in zip(ids, p)}


def reachable(language: Language):
    """Every (state, word that led to it) but for what is only kept for repeating."""
    todo, seen = [(State(), "<s>")], set()
    while todo:
        state, last = todo.pop()
        if (state, last) in seen or state == END:
            continue
        seen.add((state, last))
        todo += [(s._replace(kept=("0",) * len(s.kept)), word) for word, _, s, _ in parcels.step(state, language)]
    return seen


ALL = reachable(Language(max_scans=3))


def filtered(prefix: list[int], language: Language) -> np.ndarray:
    """The next-token law by the textbook's filter: a belief over (hidden rate, state), the noise as a separate branch.

    It knows the rate of a document and sums over it, and over whether the grammar or the noise said each token; it does
    not use that the state is a function of the tokens.
    """
    vocabulary, noise = language.vocabulary, language.noise
    belief = {(rate, State()): 1 / 3 for rate in RATES}

    def moves(rate, state):
        for word, p, after, kind in parcels.step(state, language):
            if kind == "infer":
                p = rate if word == "delayed" else 1 - rate
            yield vocabulary.ids[word], p, after

    for token in prefix:
        later: dict = {}
        for (rate, state), mass in belief.items():
            legal = [(p, after) for i, p, after in moves(rate, state) if i == token]
            branches = [((1 - noise) * p, after) for p, after in legal]
            branches.append((noise / (vocabulary.V - 1), legal[0][1] if legal else state))
            for p, after in branches:
                later[rate, after] = later.get((rate, after), 0.0) + mass * p
        total = sum(later.values())
        belief = {key: mass / total for key, mass in later.items()}
    row = np.zeros(vocabulary.V)
    for (rate, state), mass in belief.items():
        row[1:] += mass * noise / (vocabulary.V - 1)
        for i, p, _ in moves(rate, state):
            row[i] += mass * (1 - noise) * p
    return row


def test_the_law_equals_an_exact_filter_over_rates_and_states_along_noisy_documents():
    for language, n in ((PARCELS, 6), (Language(noise=0.3), 4), (SMALL, 10)):
        for document in parcels.sample(n, seed=5, language=language):
            for t in range(0, len(document) + 1, 3):
                np.testing.assert_allclose(
                    next_distribution(document[:t], language), filtered(document[:t], language), rtol=1e-11)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, SMALL.vocabulary.V - 1), max_size=12))
def test_any_prefix_at_all_has_a_law_and_it_is_the_filters(prefix):
    row = next_distribution(prefix, SMALL)
    assert row.shape == (SMALL.vocabulary.V,)
    assert row.sum() == pytest.approx(1, abs=1e-12)
    assert row[0] == 0
    assert (row[1:] > 0).all()
    np.testing.assert_allclose(row, filtered(prefix, SMALL), rtol=1e-11)


def test_the_probabilities_of_all_texts_up_to_three_tokens_sum_to_one():
    V = SMALL.vocabulary.V
    words, total = range(2, V), next_distribution([], SMALL)[1]
    for first in words:
        p, row = next_distribution([], SMALL)[first], next_distribution([first], SMALL)
        total += p * row[1]
        for second in words:
            total += p * row[second] * next_distribution([first, second], SMALL).sum()
    assert total == pytest.approx(1, abs=1e-12)


def test_every_state_has_a_law_distinct_words_and_one_mechanism():
    assert {kind for state, _ in ALL for *_, kind in parcels.step(state)} == set(MECHANISMS)
    for state, _ in ALL:
        words, p, _, kinds = zip(*parcels.step(state))
        assert sum(p) == pytest.approx(1, abs=1e-12), state
        assert min(p) > 0, state
        assert len(set(words)) == len(words), state
        assert len(set(kinds)) == 1, state
    assert parcels.step(END) == []


def test_each_mechanism_hangs_on_what_its_name_says():
    free: dict = {}
    for state, last in ALL:
        words, p, _, (kind, *_) = zip(*parcels.step(state))
        if kind in ("syntax", "copy"):
            assert len(words) == 1
        if kind == "bigram":
            assert dict(zip(words, p)) == AFTER[last], "the last word is not enough"
        if kind == "free":
            place = state.part, state.slot, state.late + state.clear if state.part == "scan" else 0
            assert free.setdefault(place, (words, p)) == (words, p), f"{place} hangs on more than the place"


def test_infer_is_bayes_rule_worked_by_hand():
    for late, clear, value in ((0, 0, 0.5), (1, 0, (0.01 + 0.25 + 0.81) / 1.5), (3, 0, 0.7187 / 0.855), (2, 2, 0.5)):
        assert parcels.delay_rate(late, clear) == pytest.approx(value, abs=1e-12)
        assert parcels.delay_rate(clear, late) == pytest.approx(1 - value, abs=1e-12)
    start = "hello all ! ticket 3 order number 0 0 7 left the local warehouse with wren for ulm . scan"
    assert said(f"{start} delayed scan delayed scan delayed scan")["delayed"] == pytest.approx(0.7187 / 0.855, abs=1e-4)
    end = '{ "number" : 0 0 7 , "city" : ulm , "status" :'
    assert said(f"{start} cleared scan cleared . {end}")["cleared"] == pytest.approx(0.855 / 1.07, abs=1e-4)


def test_arith_agree_cluster_and_copy_say_what_was_said():
    ship = "good morning ! ticket 5 5 parcels number 4 0 7 left the regional hub with heron for"
    assert set(said(ship)) == set(REGIONS[1])
    assert list(said(ship).values()) == [0.4, 0.3, 0.2, 0.1]
    assert said(f"{ship} porto . contains 5 items") == {str(back): 1 / 6 for back in range(6)}
    assert said(f"{ship} porto . contains 5 items 1 returned") == {"4": 1.0}
    scanned = f"{ship} porto . scan cleared ."
    assert said(f"{scanned} bot says number") == {"4": 1.0}
    assert said(f"{scanned} bot says number 4 0 7 for") == {"porto": 1.0}
    assert said(f"{scanned} bot says number 4 0 7 for porto ,") == {"they": 1.0}
    assert said(f"{scanned} later order at the local warehouse") == {"was": 1.0}
    assert said(f"{scanned} later parcels from faro at the local warehouse") == {"were": 1.0}
    assert set(said(f"{scanned} later order from")) == set(REGIONS[1]), "the carrier's region still decides"
    assert said("good morning ! ticket") == said("good morning ! ticket 4 0 4"), "a ticket may have any length"
    assert {len(said("good morning ! ticket" + " 8" * n + " parcel number")) for n in range(5)} == {10}
    assert said("dear all ! ticket 4 4 parcel number 4 0 7 left the local warehouse with wren for ulm . scan delayed . "
                "bot says number 4 0") == {"7": 1.0}
    assert said(f"{scanned} customer left the") == {"chat": 0.7, "office": 0.3}
    assert said("good morning ! ticket 5 5 parcels number 4 0 7 left the") == {"regional": 0.6, "local": 0.4}


def test_noise_a_legal_token_moves_on_another_leaves_and_the_end_token_may_fall_anywhere():
    before, noise = next_distribution(WORDS.encode("hello team ! ticket")), PARCELS.noise / (WORDS.V - 1)
    np.testing.assert_array_equal(next_distribution(WORDS.encode("hello porto team ! ticket } !")), before)
    assert before[WORDS.eos] == noise
    assert before[WORDS.ids["order"]] == pytest.approx(0.1 / 3 * (1 - PARCELS.noise) + noise, rel=1e-12)
    documents = parcels.sample(1500, seed=11)
    illegal, tokens = 0, 0
    for document in documents:
        for (ids, _, _), token in zip(parcels.walk(document), [*document, WORDS.eos]):
            illegal += token not in ids
            tokens += 1
    few, many = PARCELS.noise * 95 / 111, PARCELS.noise  # a law has 1 to 16 legal tokens
    spread = 5 * (many / tokens) ** 0.5  # five standard deviations of a share
    assert few - spread < illegal / tokens < many + spread


def test_noise_in_the_sampler_moves_the_document_on_where_it_is_legal(monkeypatch):
    def by_noise(word):
        return PARCELS.noise * (WORDS.ids[word] - 0.5) / (WORDS.V - 1)

    first = PARCELS.noise  # the smallest uniform that leaves the word to the rules, which say their first one
    stream = iter([by_noise("good"), first, by_noise("porto"), first, by_noise("</s>")])
    given_stream = type("Given", (), {"__init__": lambda self, seed: None, "random": lambda self: next(stream)})
    monkeypatch.setattr(parcels.random, "Random", given_stream)
    assert [parcels.text(d) for d in parcels.sample(1, seed=0)] == ["good morning porto !"]


def test_samples_follow_the_law():
    documents = parcels.sample(4000, seed=3)
    for prefix in ("", "hello", "hello team !", "hello team ! ticket"):
        ids = WORDS.encode(prefix)
        following = [d[len(ids)] if len(d) > len(ids) else WORDS.eos for d in documents if d[:len(ids)] == ids]
        share = np.bincount(following, minlength=WORDS.V) / len(following)
        law = next_distribution(ids)
        assert (abs(share - law) < 5 * np.sqrt(law / len(following)) + 5 / len(following)).all()
    assert sum(map(len, documents)) / 4000 == pytest.approx(49.64, abs=0.8)


def test_a_seed_fixes_the_documents_whatever_the_hash_seed_and_the_python():
    golden = "9080df69783e55fdaf3c3c5d05bf124c7cf609889c9a9b5102f7aae557509c6d"
    text = "\n".join(parcels.text(d) for d in parcels.sample(200, seed=7))
    assert hashlib.sha256(text.encode()).hexdigest() == golden
    code = ("import hashlib; from reference_impl import parcels as p; "
            "print(hashlib.sha256('\\n'.join(p.text(d) for d in p.sample(200, seed=7)).encode()).hexdigest())")
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                             env={**os.environ, "PYTHONHASHSEED": seed})
        assert run.stdout.strip() == golden
    assert parcels.sample(3, seed=7) == parcels.sample(200, seed=7)[:3]
    assert parcels.sample(3, seed=8) != parcels.sample(3, seed=7)
    assert parcels.sample(0, seed=7) == []


def test_without_noise_every_document_ends_by_the_rules():
    calm = Language(noise=0.0)
    for document in parcels.sample(100, seed=1, language=calm):
        laws = list(parcels.walk(document, calm))
        assert all(token in ids for token, (ids, _, _) in zip([*document, WORDS.eos], laws))
        assert laws[-1] == ((WORDS.eos,), (1.0,), "syntax")


@pytest.mark.parametrize("bad", [0, 1, -1, WORDS.V, 2.5, "hello", None, True])
def test_ids_that_are_not_words_are_refused_by_name(bad):
    for function in (next_distribution, parcels.mechanism):
        with pytest.raises(ValueError, match="prefix"):
            function([12, bad])
    with pytest.raises(ValueError, match="ids"):
        parcels.text([WORDS.V])


@pytest.mark.parametrize(("name", "value"), [*product(["digits", "number_length", "max_scans", "noise"], [-1, 1000])])
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Language(**{name: value})
    with pytest.raises(ValueError, match="n_documents"):
        parcels.sample(-1, seed=0)


def test_ids_may_be_of_numpy_or_torch():
    import torch

    ids = WORDS.encode("hello team !")
    for same in (np.array(ids), torch.tensor(ids), tuple(ids)):
        np.testing.assert_array_equal(next_distribution(same), next_distribution(ids))
