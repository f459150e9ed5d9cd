"""Drawing a token, the loop that makes a text, and the loop in which a text ends: against plain Python and by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu

from reference_impl.sampling import generate, loop_stats, sample, temperature

BELOW_ONE = math.nextafter(1, 0)


# sample


def test_numpys_generator_seeded_with_four_writes_the_courses_eight_words():
    words = ["warehouse", "hub", "carrier"]
    probs = temperature(torch.tensor([2.4, 1.7, 0.2], dtype=torch.float64), 1.4).softmax(0)
    assert [round(p, 3) for p in probs.tolist()] == [0.551, 0.334, 0.115]
    u = torch.from_numpy(np.random.default_rng(4).random(8))
    drawn = [words[i] for i in sample(probs.expand(8, 3), u).tolist()]
    assert drawn == ["carrier", "warehouse", "carrier", "warehouse", "hub", "warehouse", "hub", "warehouse"]
    assert drawn == np.random.default_rng(4).choice(words, 8, p=probs.numpy()).tolist()


def test_a_table_by_hand():
    probs = torch.tensor([0.85, 0.10, 0.03, 0.000001, 0.019999], dtype=torch.float64)
    u = torch.tensor([0, 0.8499, 0.8501, 0.9499, 0.9501, 0.9800005, 0.980002, BELOW_ONE], dtype=torch.float64)
    assert sample(probs.expand(8, 5), u).tolist() == [0, 0, 1, 1, 2, 3, 4, 4]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), st.sampled_from([64, 1 << 20]),
       st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_the_first_id_whose_cdf_exceeds_u_in_exact_fractions(counts, scale, us):
    """Sixty-fourths and the like are exact in every float, so that a CDF can equal u."""
    counts[-1] += scale - sum(counts) if sum(counts) <= scale else 0
    parts = [Fraction(count, scale) for count in counts]
    if sum(parts) != 1:
        return
    us = [*us, *[float(cdf) for cdf in itertools.accumulate(parts) if cdf < 1]]
    wanted = [next(i for i, cdf in enumerate(itertools.accumulate(parts)) if cdf > Fraction(u)) for u in us]
    probs, u = torch.tensor([float(p) for p in parts]), torch.tensor(us)
    assert sample(probs.expand(len(us), -1), u).tolist() == wanted
    assert [sample(probs, one).item() for one in u] == wanted
    assert sample(probs.double().expand(1, len(us), -1), u[None]).tolist() == [wanted]


@given(st.lists(st.sampled_from([0, 0, 1e-9, 0.1, 0.7, 3]), min_size=1, max_size=12).filter(any),
       st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_no_token_of_probability_zero_whatever_rounding_does(sizes, dtype):
    probs = (torch.tensor(sizes, dtype=torch.float64) / sum(sizes)).to(dtype)
    possible = probs.nonzero().squeeze(1).tolist()
    for u, ends in [(0.0, possible[:1]), (BELOW_ONE, possible[-1:]), (0.5, possible)]:
        token = sample(probs[None], torch.tensor([u], dtype=torch.float64)).item()
        assert token in (ends if u == 0 or probs[possible[-1]] > 0.01 else possible)


def test_a_sum_below_u_gives_the_last_possible_token():
    probs = torch.tensor([[0.4995, 0.4998, 0.0, 0.0], [0.0, 0.9993, 0.0, 0.0]])
    assert sample(probs, torch.tensor([0.9999, 0.99999])).tolist() == [1, 1]
    tenths = torch.full((10,), 0.1, dtype=torch.float64)
    assert tenths.cumsum(0)[-1] == BELOW_ONE  # so no CDF exceeds the largest u
    assert sample(torch.cat([tenths, tenths[:3] * 0]), torch.tensor(BELOW_ONE, dtype=torch.float64)) == 9


def test_evenly_spread_uniforms_give_every_token_its_share():
    probs = torch.rand(20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    probs = probs / probs.sum()
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    shares = sample(probs.expand(10_000, 20), u).bincount(minlength=20)
    assert (shares - 10_000 * probs).abs().max() <= 1


def test_a_vocabulary_of_bfloat16_is_drawn_from_its_own_probabilities():
    probs = torch.full((1, 50_000), 1 / 50_000, dtype=torch.bfloat16)  # they sum to 1.0013
    each = probs[0, 0].double()
    assert sample(probs, (each * 12_345.5)[None]).tolist() == [12_345]
    assert sample(probs, torch.tensor([0.0])).dtype == torch.int64


@pytest.mark.parametrize(("probs", "u", "said"), [
    ([[0.5, 0.4]], [0.1], "probs must sum"), ([[0.5, 0.502]], [0.1], "probs must sum"), ([[0.0, 0.0]], [0.1], "sum"),
    ([[1.1, -0.1]], [0.1], "probs must be 0 or more"), ([[math.nan, 1]], [0.1], "probs must not hold NaN"),
    ([[math.inf, 1]], [0.1], "probs must sum"), ([[1.0, 0], [0.5, 0.1]], [0, 0.1], "probs must sum"),
    ([[0.5, 0.5]], [1.0], "u must be in"), ([[1.0]], [-0.1], "u must be in"), ([[1.0]], [math.nan], "u must be in"),
    ([[0.5, 0.5]], [0.1, 0.2], "u must be a"), ([[0.5, 0.5]], [0], "u must be a"), ([[]], [0.1], "empty"),
    ([[1, 0]], [0.1], "probs must have a floating")])
def test_what_is_no_distribution_or_no_uniform_is_refused(probs, u, said):
    with pytest.raises(ValueError, match=said):
        sample(torch.tensor(probs), torch.tensor(u))


@needs_gpu
def test_a_gpu_draws_the_same_tokens_and_none_of_probability_zero():
    generator = torch.Generator().manual_seed(4)
    probs = torch.rand(64, 30_000, generator=generator, dtype=torch.float64).sub(0.9).clamp(min=0)
    probs, u = probs / probs.sum(1, keepdim=True), torch.rand(64, generator=generator)
    tokens = sample(probs.cuda(), u.cuda())
    assert tokens.is_cuda
    assert (probs.gather(1, tokens.cpu()[:, None]) > 0).all()
    assert torch.equal(tokens.cpu(), sample(probs, u))


# generate


def last_ids_mixed(ids: torch.Tensor) -> torch.Tensor:
    """A step of four ids in which all that is seen, its length too, decides: any wrong crop or pad shows."""
    places = torch.arange(1, ids.shape[1] + 1) ** 2
    return ((ids * places).sum(1) * 7 // 3 + ids.shape[1]) % 4


def one_row(row, max_new, eos, stop_ids, context):
    """The text of one row by the definition, and whether it ended by itself."""
    new: list[int] = []
    while len(new) < max_new:
        seen = (row + new)[-context:] if context else row + new
        new.append(int(last_ids_mixed(torch.tensor([seen], dtype=torch.int64))))
        if new[-1] == eos or (stop_ids and new[-len(stop_ids):] == stop_ids):
            break
    return row + new


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 3),
       st.integers(0, 9), st.sampled_from([None, 0, 1, 3]), st.integers(0, 5),
       st.lists(st.integers(0, 3), max_size=3), st.sampled_from([None, 1, 2, 4, 50]))
@settings(deadline=None, max_examples=60)
def test_a_batch_is_its_rows_one_at_a_time(prompts, T, max_new, eos, pad, stop_ids, context):
    ids = torch.tensor(prompts)[:, :T]
    texts = [one_row(row, max_new, eos, stop_ids, context) for row in ids.tolist()]
    calls = []

    def step(seen):
        calls.append(seen.clone())
        drawn = last_ids_mixed(seen)
        seen.fill_(99)  # what step was given is its own
        ended = [len(text) < T + len(calls) for text in texts]
        return torch.where(torch.tensor(ended), 77, drawn)  # what it says of an ended row has no effect

    before = ids.clone()
    got, lengths = generate(step, ids, max_new, eos, pad, stop_ids, context)
    width = max(len(text) for text in texts)
    assert got.tolist() == [text + [pad] * (width - len(text)) for text in texts]
    assert lengths.tolist() == [len(text) for text in texts]
    assert torch.equal(ids, before)
    assert len(calls) == width - T
    for t, seen in enumerate(calls, start=T):
        assert torch.equal(seen, got[:, max(t - (context or t), 0) : t])


def replay(*texts: list[int]):
    """A step that says these new tokens whatever it sees."""
    columns = iter(zip(*texts))
    return lambda ids: torch.tensor(next(columns))


@pytest.mark.parametrize(("prompt", "says", "stop_ids", "new"), [
    ([1, 2], [3, 1, 2, 3, 9], [1, 2, 3], 4),  # the first three would match with the prompt's 1, 2
    ([5], [1, 1, 1, 2, 9], [1, 1, 2], 4),  # a false start
    ([7, 5], [5, 6, 5, 5, 9], [5, 5], 4),  # 5, 5 across the prompt's end is no match
    ([5], [4, 9, 9, 9, 9], [4], 1), ([5], [1, 2, 0, 3, 4], [2, 3], 3), ([5], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7], 5),
    ([0], [1, 2, 3, 4, 5], [], 5), ([0], [0, 2, 3, 4, 5], [], 1)])
def test_stop_sequences_match_in_new_tokens_only_and_stay(prompt, says, stop_ids, new):
    for given_ids in (stop_ids, tuple(stop_ids), torch.tensor(stop_ids, dtype=torch.int64)):
        ids, lengths = generate(replay(says), torch.tensor([prompt]), 5, 0, 8, given_ids)
        assert ids.tolist() == [prompt + says[:new]]
        assert lengths.tolist() == [len(prompt) + new]


def test_rows_end_on_their_own_and_padding_comes_after():
    says = [[4, 0, 6, 6], [4, 4, 1, 2], [0, 5, 5, 5]]
    ids, lengths = generate(replay(*says), torch.tensor([[0], [1], [2]]), 9, 0, 8, [1, 2])
    assert ids.tolist() == [[0, 4, 0, 8, 8], [1, 4, 4, 1, 2], [2, 0, 8, 8, 8]]
    assert lengths.tolist() == [3, 5, 2]


def test_pad_may_be_the_end_token():
    ids, lengths = generate(replay([4, 0, 6], [4, 4, 4]), torch.tensor([[1], [1]]), 3, 0, 0)
    assert (ids.tolist(), lengths.tolist()) == ([[1, 4, 0, 0], [1, 4, 4, 4]], [3, 4])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_no_new_tokens_gives_a_copy_and_asks_nothing(dtype):
    prompt = torch.tensor([[1, 2], [0, 0]], dtype=dtype)
    ids, lengths = generate(None, prompt, 0, eos=0, pad=3)
    assert torch.equal(ids, prompt)
    assert (ids.dtype, lengths.dtype, lengths.tolist()) == (dtype, torch.int64, [2, 2])
    ids.zero_()
    assert prompt.tolist() == [[1, 2], [0, 0]]
    assert generate(replay([5], [6]), prompt, 1, None, 3)[0].dtype == dtype


@pytest.mark.parametrize(("change", "said"), [
    ({"max_new": -1}, "max_new"), ({"context": 0}, "context"), ({"pad": None}, "pad"), ({"eos": 1.5}, "eos"),
    ({"eos": -1}, "eos"), ({"stop_ids": [1.5]}, "stop_ids"), ({"stop_ids": 3}, "stop_ids"), ({"ids": [[1]]}, "ids"),
    ({"ids": torch.tensor([1])}, "ids"), ({"ids": torch.zeros(0, 2, dtype=torch.int64)}, "ids is empty"),
    ({"ids": torch.tensor([[-1]])}, "ids must"), ({"ids": torch.zeros(1, 1)}, "ids must"),
    ({"step": lambda ids: ids}, r"step\(ids\) must"), ({"step": lambda ids: ids[:, 0] * 1.0}, r"step\(ids\) must"),
    ({"step": lambda ids: 3}, r"step\(ids\) must")])
def test_wrong_arguments_are_named(change, said):
    right = {"step": lambda ids: ids[:, -1], "ids": torch.tensor([[1]]), "max_new": 2, "eos": 0, "pad": 0}
    assert generate(**right)[1].tolist() == [3]
    with pytest.raises(ValueError, match=said):
        generate(**(right | change))


# loop_stats


def brute_force(ids):
    for start in range(len(ids)):
        for period in range(1, (len(ids) - start) // 3 + 1):
            if all(ids[i] == ids[i + period] for i in range(start, len(ids) - period)):
                return period, start
    return 0, len(ids)


def test_every_short_text_of_two_and_three_ids():
    for V, longest in [(2, 10), (3, 6)]:
        for n in range(longest + 1):
            for ids in itertools.product(range(V), repeat=n):
                assert loop_stats(ids) == brute_force(ids), ids


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), min_size=1, max_size=9),
       st.integers(1, 5), st.integers(0, 8))
@example([1, 0], [0, 0, 1, 0, 0, 1, 0, 0, 1], 4, 3)
@settings(deadline=None, max_examples=60)
def test_a_loop_behind_any_text(head, body, copies, more):
    ids = head + body * copies + body[:more]
    assert loop_stats(ids) == loop_stats(torch.tensor(ids, dtype=torch.int32)) == brute_force(ids)


@pytest.mark.parametrize(("ids", "wanted"), [
    ([], (0, 0)), ([5], (0, 1)), ([5, 5], (0, 2)), ([5, 5, 5], (1, 0)), ([1, 5, 5, 5], (1, 1)),
    ([5, 5, 5, 1], (0, 4)), ([1, 2, 1, 2, 1, 2], (2, 0)), ([2, 1, 2, 1, 2, 1, 2], (2, 0)),
    ([1, 2] * 3 + [1], (2, 0)), ([1, 1, 2] * 3, (3, 0)), ([0, 0, 0, 1] * 3 + [0, 0, 0], (4, 0)),
    ([1, 1, 1, 2, 2, 2], (1, 3))])
def test_loops_by_hand(ids, wanted):
    assert loop_stats(ids) == wanted
    assert all(type(n) is int for n in loop_stats(torch.tensor(ids, dtype=torch.int64)))


def test_the_work_grows_with_the_length_and_no_faster():
    class Counted(int):
        looks = 0

        def __eq__(self, other):
            Counted.looks += 1
            return int(self) == int(other)

        __hash__ = int.__hash__

    word = "a"
    for _ in range(17):  # the Fibonacci word: as full of near loops as a text can be
        word = word.replace("a", "x").replace("b", "a").replace("x", "ab")
    for text in ("a" * 3000, ("ab" * 1500), word[:3000], ("a" * 999 + "b") * 3):
        Counted.looks = 0
        loop_stats([Counted(ord(letter)) for letter in text])
        assert Counted.looks <= 2 * len(text), text[:9]


@pytest.mark.parametrize("ids", [torch.zeros(1, 3, dtype=torch.int64), torch.zeros(3), 5, [1.5], [[1, 1, 1]], "aaa"])
def test_what_is_no_sequence_of_ids_is_refused(ids):
    with pytest.raises(ValueError, match="ids must"):
        loop_stats(ids)
