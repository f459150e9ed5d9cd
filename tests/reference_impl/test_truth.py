"""What is known exactly agrees with other ways to know it: a backward recursion, states kept apart, a large sample."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from reference_impl import parcels, truth
from reference_impl.parcels import END, MECHANISMS, PARCELS, Language, State

SMALL = Language(digits=2, number_length=2, max_scans=2, noise=0.05)
WORDS = PARCELS.vocabulary
KNOWN = truth.entropy()


def test_merging_states_by_symmetry_changes_nothing():
    for language in (SMALL, Language(digits=3, number_length=1, max_scans=1, noise=0.0)):
        merged, apart = truth.entropy(language), truth.entropy(language, collapsed=False)
        assert merged.per_document == pytest.approx(apart.per_document, rel=1e-12)
        assert merged.tokens == pytest.approx(apart.tokens, rel=1e-12)
        assert merged.by_mechanism == pytest.approx(apart.by_mechanism, rel=1e-9)
        assert merged.share == pytest.approx(apart.share, rel=1e-12)
        np.testing.assert_allclose(merged.lengths, apart.lengths, atol=1e-13)


@pytest.mark.parametrize("language", [SMALL, Language(max_scans=3), Language(noise=0.0)])
def test_entropy_and_length_equal_a_recursion_backwards_from_the_end(language):
    V, stray = language.vocabulary.V, language.noise / (language.vocabulary.V - 1)

    @cache
    def still_to_come(state: State) -> tuple[float, float]:
        """Expected nats and tokens from a state on: what its own law gives, then that of the states after it."""
        if state == END:
            return 0.0, 0.0
        law = parcels.step(state, language)
        moves = [((1 - language.noise) * p + stray, truth.collapse(after)) for _, p, after, _ in law]
        own = -sum(p * np.log(p) for p, _ in moves)
        others = V - 1 - len(moves)
        own -= others * stray * np.log(stray) if stray else 0.0
        by_accident = END not in [after for _, after in moves]
        stay = (others - by_accident) * stray + sum(p for p, after in moves if after == state)
        nats, tokens = own, 1.0
        for p, after in moves:
            if after != state:
                nats, tokens = nats + p * still_to_come(after)[0], tokens + p * still_to_come(after)[1]
        return nats / (1 - stay), tokens / (1 - stay)

    known = truth.entropy(language)
    assert (known.per_document, known.tokens) == pytest.approx(still_to_come(State()), rel=1e-9)
    assert known.per_token == pytest.approx(known.per_document / known.tokens, rel=1e-12)


def test_entropy_and_length_agree_with_a_large_sample():
    documents = parcels.sample(4000, seed=2)
    true = truth.conditionals(documents)
    nll = -np.log(true.rows[np.arange(len(true.targets)), true.targets])
    lengths = np.array([len(document) + 1 for document in documents])
    surprise = np.add.reduceat(nll, np.concatenate([[0], np.cumsum(lengths)[:-1]]))
    for name, exact, drawn in (("nats", KNOWN.per_document, surprise), ("tokens", KNOWN.tokens, lengths)):
        # four standard errors of the mean: a right programme fails this for one seed in 15,000, and the seed is fixed
        assert abs(drawn.mean() - exact) < 4 * drawn.std() / len(drawn) ** 0.5, name
    entropies = -(true.rows * np.log(np.where(true.rows > 0, true.rows, 1))).sum(1)
    for k, name in enumerate(MECHANISMS):
        assert (true.mechanisms == k).mean() == pytest.approx(KNOWN.share[name], abs=0.004), name
        own = entropies[true.mechanisms == k]
        assert abs(own.mean() - KNOWN.by_mechanism[name]) < 5 * own.std() / len(own) ** 0.5 + 1e-9, name


def test_lengths_are_a_distribution_with_the_expected_mean():
    assert KNOWN.lengths.sum() == pytest.approx(1, abs=1e-12)
    assert KNOWN.lengths @ np.arange(len(KNOWN.lengths)) == pytest.approx(KNOWN.tokens, rel=1e-9)
    assert KNOWN.lengths[0] == 0
    assert KNOWN.lengths[1] == pytest.approx(0.002 / 111)
    assert 40 < KNOWN.tokens < 52
    assert sum(KNOWN.share.values()) == pytest.approx(1)
    assert sum(KNOWN.share[m] * KNOWN.by_mechanism[m] for m in MECHANISMS) == pytest.approx(KNOWN.per_token)


def test_fixed_frames_are_certain_and_free_words_are_not():
    calm = truth.entropy(Language(noise=0.0))
    assert calm.by_mechanism["syntax"] == calm.by_mechanism["copy"] == 0
    assert calm.by_mechanism["free"] > 1


def test_conditionals_are_the_next_distributions_of_all_prefixes():
    documents = [*parcels.sample(5, seed=4), []]
    true = truth.conditionals(documents)
    expected = [parcels.next_distribution(d[:t]) for d in documents for t in range(len(d) + 1)]
    np.testing.assert_allclose(true.rows, expected, rtol=1e-14)
    assert true.targets.tolist() == [token for d in documents for token in (*d, WORDS.eos)]
    kinds = [parcels.mechanism(d[:t]) for d in documents for t in range(len(d) + 1)]
    assert [MECHANISMS[k] for k in true.mechanisms] == kinds
    chosen = np.log([row[token] for row, token in zip(expected, true.targets)])
    assert sum(map(truth.log_probability, documents)) == pytest.approx(chosen.sum(), rel=1e-12)


def test_the_distance_is_zero_for_the_truth_and_log_v_minus_entropy_for_the_uniform_guess():
    documents = parcels.sample(30, seed=4)
    assert truth.kl_to_truth(parcels.next_distribution, documents).per_token == 0
    rows = truth.conditionals(documents).rows
    entropy = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(1).mean()
    uniform = truth.kl_to_truth(lambda prefix: np.full(WORDS.V, 1 / WORDS.V), documents)
    assert uniform.per_token == pytest.approx(np.log(WORDS.V) - entropy, rel=1e-12)
    total = sum(uniform.share[m] * uniform.by_mechanism[m] for m in uniform.share)
    assert total == pytest.approx(uniform.per_token, rel=1e-12)


def table_of(documents, n, k=0.01):
    counts = np.full((WORDS.V,) * n, k)
    for document in documents:
        ids = [WORDS.bos] * (n - 1) + document + [WORDS.eos]
        for t in range(len(ids) - n + 1):
            counts[tuple(ids[t:t + n])] += 1
    return counts / counts.sum(-1, keepdims=True)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_table_is_scored_as_the_model_that_looks_it_up(n):
    table, documents = table_of(parcels.sample(50, seed=0), n), parcels.sample(8, seed=9)

    def look_up(prefix):
        return table[tuple(([WORDS.bos] * n + prefix)[len(prefix) + 1:])]

    assert truth.kl_of_table(table, documents) == truth.kl_to_truth(look_up, documents)


def test_longer_contexts_come_closer_and_zeros_are_infinitely_far():
    train, held_out = parcels.sample(1500, seed=0), parcels.sample(60, seed=1)
    tables = [table_of(train, n) for n in (1, 2, 3)]
    distances = [truth.kl_of_table(table, held_out).per_token for table in tables]
    assert distances[0] > 3 > 1 > distances[1] > distances[2] + 0.2
    mixed = truth.kl_of_table(0.9 * tables[2] + 0.1 * tables[1], held_out)
    assert mixed.per_token < distances[2]
    assert mixed.by_mechanism["bigram"] < 0.1 < 2 < mixed.by_mechanism["copy"], "counts copy nothing"
    assert truth.kl_of_table(table_of(train, 2, k=1e-300), held_out).per_token > distances[1]
    with np.errstate(invalid="ignore"):
        raw = np.nan_to_num(table_of(train, 2, k=0.0))
    assert truth.kl_of_table(raw, held_out).per_token == np.inf


def test_bad_input_is_named():
    documents = parcels.sample(2, seed=0)
    with pytest.raises(ValueError, match="documents"):
        truth.kl_of_rows(np.zeros((0, WORDS.V)), [])
    with pytest.raises(ValueError, match="rows"):
        truth.kl_of_rows(np.zeros((3, WORDS.V)), documents)
    with pytest.raises(ValueError, match="table"):
        truth.kl_of_table(np.zeros((3, 3)), documents)
    with pytest.raises(ValueError, match="documents"):
        truth.kl_of_table(np.zeros((WORDS.V, WORDS.V)), [[WORDS.V]])
    with pytest.raises(ValueError, match="model"):
        truth.kl_to_truth(lambda prefix: [1.0], documents)
    with pytest.raises(ValueError, match="prefix"):
        truth.conditionals([[WORDS.eos]])
