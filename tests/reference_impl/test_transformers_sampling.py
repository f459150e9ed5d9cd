"""Sampling against Hugging Face transformers: the same answers wherever its definitions agree with the course's.

The second half shows, one by one, the differences that the docstrings of reference_impl/sampling.py name.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.sampling import generate, min_p, repetition_penalty, sample, temperature, top_k, top_p

pytestmark = pytest.mark.transformers
INF = math.inf
V = 12
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model(hf):
    """A GPT-2 of random weights, large enough ones that no two rows go the same way."""
    torch.manual_seed(0)
    settings = hf.GPT2Config(vocab_size=V, n_positions=24, n_embd=16, n_layer=1, n_head=2, initializer_range=1.0,
                             bos_token_id=None, eos_token_id=None, pad_token_id=None)
    return hf.GPT2LMHeadModel(settings).eval()


def hostile(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Rows (4, V'): normal ones, wide ones, whole numbers with many ties, close ones; some of -inf in each."""
    generator = torch.Generator().manual_seed(seed)
    size = [2, 3, 8, 50, 600][seed % 5]
    x = torch.randn(4, size, generator=generator, dtype=dtype)
    x = torch.stack([x[0], x[1] * 20, x[2].mul(2).round(), 5 + x[3] / 1024])
    impossible = torch.rand(4, size, generator=generator) < 0.2
    impossible[:, seed % size] = False
    return x.masked_fill(impossible, -INF)


def kept(logits: torch.Tensor) -> list[int]:
    return logits.isfinite().nonzero()[:, -1].tolist()


# The same


@given(seed=seeds, T=st.floats(0.01, 100))
@settings(deadline=None, max_examples=60)
def test_temperature(hf, seed, T):
    for dtype in (torch.float32, torch.bfloat16):
        x = hostile(seed).to(dtype)
        assert torch.equal(temperature(x, T), hf.TemperatureLogitsWarper(T)(None, x))


@given(seed=seeds, k=st.integers(1, 700))
@settings(deadline=None, max_examples=60)
def test_top_k_but_for_ties_at_the_cut(hf, seed, k):
    x = hostile(seed)
    for row, ours, theirs in zip(x, top_k(x, k), hf.TopKLogitsWarper(k)(None, x)):
        last = row.topk(min(k, len(row))).values[-1]
        assert torch.equal(ours[row != last], theirs[row != last])
        assert torch.equal(theirs[row == last], row[row == last])
        assert (row > -INF).sum() < k or len(kept(ours)) == min(k, len(row))


@given(seed=seeds, cut=st.integers(0, 700), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=100)
def test_top_p_where_p_cuts_through_the_mass_of_a_token(hf, seed, cut, dtype):
    for row in hostile(seed, dtype).unsqueeze(1):
        masses = row.double().softmax(-1).sort(descending=True).values[0]
        cut = cut % int((masses > 1e-4).sum())  # float32 sums are good to about 1e-6
        p = float(masses[:cut].sum() + masses[cut] / 2)
        ours, theirs = top_p(row, p), hf.TopPLogitsWarper(p)(None, row)
        assert len(kept(ours)) == cut + 1
        assert torch.equal(ours.sort().values, theirs.sort().values)
        if (row == row.sort(descending=True).values[0, cut]).sum() == 1:  # else which of the equal ones is left open
            assert torch.equal(ours, theirs)


@given(seed=seeds, cut=st.integers(0, 700), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=100)
def test_min_p_where_p_lies_between_two_tokens(hf, seed, cut, dtype):
    for row in hostile(seed, dtype).unsqueeze(1):
        below = (row - row.max()).unique(sorted=True).flip(0).tolist()
        upper, lower = [*below, -INF][cut % len(below) :][:2]
        p = math.exp(max((upper + lower) / 2, upper - 1))
        if upper - lower > 1e-4 and upper > -60:  # else float32 probabilities are too coarse to tell
            assert torch.equal(min_p(row, p), hf.MinPLogitsWarper(p)(None, row))


@given(seed=seeds, penalty=st.floats(0.1, 10), T=st.integers(0, 20))
@settings(deadline=None, max_examples=60)
def test_repetition_penalty(hf, seed, penalty, T):
    for dtype in (torch.float32, torch.float16):
        x = hostile(seed).to(dtype)
        ids = torch.randint(0, x.shape[1], (4, T), generator=torch.Generator().manual_seed(seed))
        theirs = hf.RepetitionPenaltyLogitsProcessor(penalty)(ids, x)
        assert torch.equal(repetition_penalty(x, ids, penalty), theirs)


@pytest.mark.parametrize("seed", range(20))
def test_all_steps_in_the_order_of_generate(hf, model, seed):
    x = torch.randn(5, V, generator=torch.Generator().manual_seed(seed)) * 3
    ids = torch.randint(0, V, (5, 7), generator=torch.Generator().manual_seed(seed))
    config = hf.GenerationConfig(
        do_sample=True, repetition_penalty=1.2, temperature=0.8, top_k=9, top_p=0.9, min_p=0.02)
    ours = top_p(top_k(temperature(repetition_penalty(x, ids, 1.2), 0.8), 9), 0.9)
    assert torch.equal(min_p(ours, 0.02), model._get_logits_processor(config, 7)(ids, x))


def drawn(hf, us: torch.Tensor):
    """transformers' filters with our draw behind them, as a logits processor that leaves one token only."""
    class Draw(hf.LogitsProcessor):
        def __call__(self, ids, scores):
            for step in (hf.TemperatureLogitsWarper(1.3), hf.TopKLogitsWarper(8), hf.TopPLogitsWarper(0.9)):
                scores = step(ids, scores)
            tokens = sample(scores.softmax(-1), us[:, ids.shape[1]])
            return torch.full_like(scores, -INF).scatter(1, tokens[:, None], 0)
    return hf.LogitsProcessorList([Draw()])


def stopping_at(hf, T: int, stop_ids: list[int]):
    class Stop(hf.StoppingCriteria):
        def __call__(self, ids, scores, **kwargs):
            return torch.tensor([row[T:][-len(stop_ids):] == stop_ids for row in ids.tolist()])
    return hf.StoppingCriteriaList([Stop()])


@pytest.mark.parametrize("stop_ids", [[10] * 20, [1, 5], [9]])
@pytest.mark.parametrize(("eos", "max_new"), [(2, 20), (7, 20), (0, 1), (3, 6)])
def test_whole_texts_drawn_from_a_model(hf, model, eos, max_new, stop_ids):
    """The same uniforms give the same texts, ends, stops and padding, and as many steps."""
    generator = torch.Generator().manual_seed(eos)
    ids, us = torch.randint(0, V, (9, 4), generator=generator), torch.rand(9, 24, generator=generator)

    def step(seen):
        with torch.no_grad():
            logits = model(seen).logits[:, -1]
        return sample(top_p(top_k(temperature(logits, 1.3), 8), 0.9).softmax(-1), us[:, seen.shape[1]])

    ours, lengths = generate(step, ids, max_new, eos, 11, stop_ids, context=24)
    theirs = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_new, eos_token_id=eos,
        pad_token_id=11, logits_processor=drawn(hf, us), stopping_criteria=stopping_at(hf, 4, stop_ids))
    assert ours.tolist() == theirs.tolist()
    for row, length in zip(theirs.tolist(), lengths.tolist()):
        ends = [n for n in range(5, len(row) + 1) if row[n - 1] == eos or row[4:n][-len(stop_ids):] == stop_ids]
        assert length == min([*ends, len(row)])
    assert max_new < 20 or len(set(lengths.tolist())) > 2, "the rows should end at different places"


# The differences


def test_temperatures_that_transformers_refuses_or_overflows_with(hf):
    for T in (0.0, 1, 0):
        with pytest.raises(ValueError, match="strictly positive float"):
            hf.TemperatureLogitsWarper(T)
    x = torch.tensor([[2.0, 1.0, -INF]])
    assert hf.TemperatureLogitsWarper(1e-40)(None, x).softmax(-1).isnan().all()
    assert hf.TemperatureLogitsWarper(1e39)(None, x).isnan().any()
    assert temperature(x, 1e-40).softmax(-1).tolist() == [[1, 0, 0]]
    assert temperature(x, 1e39).softmax(-1).tolist() == [[0.5, 0.5, 0]]


def test_top_k_keeps_more_than_k_at_a_tie(hf, model):
    x = torch.tensor([[1.0, 2.0, 1.0, 1.0]])
    assert (kept(top_k(x, 2)), kept(hf.TopKLogitsWarper(2)(None, x))) == ([0, 1], [0, 1, 2, 3])
    assert kept(hf.TopKLogitsWarper(1, min_tokens_to_keep=2)(None, x)) == [0, 1, 2, 3]
    assert not model._get_logits_processor(hf.GenerationConfig(do_sample=True, top_k=0, top_p=1.0), 1)
    with pytest.raises(ValueError, match="k must"):
        top_k(x, 0)


def test_top_p_decides_ties_otherwise(hf):
    x = torch.zeros(1, 4)
    assert [kept(top_p(x, p)) for p in (0, 0.25, 0.5)] == [[0], [0], [0, 1]]
    for p, count in ((0.0, 1), (0.25, 1), (0.5, 2)):
        theirs = kept(hf.TopPLogitsWarper(p)(None, x))
        assert len(theirs) == count
        assert theirs != kept(top_p(x, p))


def test_top_p_of_one_drops_what_rounds_to_zero(hf):
    x = torch.tensor([[0.0, -200.0, -1.0]])
    assert torch.equal(top_p(x, 1), x)
    assert kept(hf.TopPLogitsWarper(1.0)(None, x)) == [0, 2]


def test_top_p_rounds_in_the_dtype_of_the_logits(hf):
    tens, flat = torch.zeros(1, 10), torch.zeros(1, 50_000, dtype=torch.bfloat16)
    assert (len(kept(top_p(tens, 0.1))), len(kept(hf.TopPLogitsWarper(0.1)(None, tens)))) == (1, 2)
    assert len(kept(top_p(flat, 0.5))) == 25_000
    assert abs(len(kept(hf.TopPLogitsWarper(0.5)(None, flat))) - 25_000) > 24


def test_top_p_takes_rows_of_a_matrix_only(hf):
    x = torch.tensor([[[0.0, 5.0], [5.0, 0.0], [0.0, 5.0]]])
    for fewer in (x[0, 0], x.expand(3, 3, 2).transpose(1, 2)):
        with pytest.raises((IndexError, RuntimeError)):
            hf.TopPLogitsWarper(0.5)(None, fewer)
    assert kept(top_p(x, 0.5)) == [1, 0, 1]
    assert kept(hf.TopPLogitsWarper(0.5)(None, x)) == [1, 1, 1]  # no error, and the second row keeps its worst


def test_min_p_cannot_tell_close_logits_or_tiny_probabilities_apart(hf):
    close, far = torch.tensor([[0.0, -1e-9]]), torch.tensor([[0.0, -200.0]])
    assert (kept(min_p(close, 1)), kept(hf.MinPLogitsWarper(1.0)(None, close))) == ([0], [0, 1])
    assert (kept(min_p(far, 1e-60)), kept(hf.MinPLogitsWarper(1e-60)(None, far))) == ([0], [0, 1])


def test_thresholds_that_are_exact_on_paper_are_not_in_float32(hf):
    """float32's ln .5 lies below ln .5, so a half is less than half of one; rounded probabilities hide that."""
    x = torch.tensor([[1.0, 0.5, 0.25]]).log()
    assert (kept(min_p(x, 0.5)), kept(min_p(torch.tensor([[1.0, 0.5, 0.25]]).double().log(), 0.5))) == ([0], [0, 1])
    assert kept(hf.MinPLogitsWarper(0.5)(None, x)) == [0, 1]


def test_min_tokens_to_keep_has_no_counterpart(hf):
    x = torch.tensor([[9.0, 0.0, 1.0]])
    for theirs, ours in ((hf.TopPLogitsWarper, top_p), (hf.MinPLogitsWarper, min_p)):
        assert kept(theirs(0.5, min_tokens_to_keep=2)(None, x)) == [0, 2]
        assert kept(ours(x, 0.5)) == [0]


def test_the_penalty_takes_no_int_reads_a_list_as_a_column_and_overflows(hf):
    with pytest.raises(ValueError, match="strictly positive float"):
        hf.RepetitionPenaltyLogitsProcessor(2)
    x, ids = torch.tensor([[4.0, -4.0], [4.0, -4.0]]), torch.tensor([0, 1])
    assert hf.RepetitionPenaltyLogitsProcessor(2.0)(ids, x).tolist() == [[2, -4], [4, -8]]
    with pytest.raises(ValueError, match="ids must"):
        repetition_penalty(x, ids, 2)
    assert hf.RepetitionPenaltyLogitsProcessor(1e-5)(ids, x.half())[0, 0] == INF
    with pytest.raises(ValueError, match="penalty must"):
        repetition_penalty(x.half(), ids[:, None], 1e-5)
    later = hf.RepetitionPenaltyLogitsProcessor(2.0, prompt_ignore_length=1)
    ids = torch.tensor([[0, 1, 1], [0, 0, 0]])
    assert torch.equal(later(ids, x), repetition_penalty(x, ids[:, 1:], 2))


@pytest.mark.parametrize("bad", [math.nan, INF])
def test_nan_and_inf_pass_through_transformers(hf, bad):
    x, ids = torch.tensor([[0.0, bad]]), torch.tensor([[0]])
    for theirs, ours in ((hf.TemperatureLogitsWarper(2.0), temperature), (hf.TopKLogitsWarper(2), top_k),
                         (hf.TopPLogitsWarper(0.5), top_p), (hf.MinPLogitsWarper(0.5), min_p)):
        assert not theirs(ids, x)[0, 1].isfinite()
        with pytest.raises(ValueError, match="logits must"):
            ours(x, 1)


def test_generate_neither_crops_nor_takes_zero_new_tokens(hf, model):
    ids = torch.tensor([[1, 2, 3]])
    settings = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
    with pytest.raises(ValueError, match="greater than 0"):
        model.generate(ids, max_new_tokens=0, **settings)
    with pytest.raises(IndexError):
        model.generate(ids, max_new_tokens=30, **settings)
    greedy = lambda seen: model(seen).logits[:, -1].argmax(-1)  # noqa: E731
    text, lengths = generate(greedy, ids, 30, None, 0, context=24)
    assert lengths.tolist() == [33]
    assert torch.equal(text[:, :24], model.generate(ids, max_new_tokens=21, **settings))


def test_ended_rows_go_on_in_transformers_where_no_end_token_is_set(hf, model):
    ids = torch.tensor([[1, 2, 3], [4, 4, 4]])
    says = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8, pad_token_id=0)
    first = says[0, 3:5].tolist()
    assert first != says[1, 3:5].tolist()
    stopped = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8,
                             pad_token_id=0, stopping_criteria=stopping_at(hf, 3, first))
    assert torch.equal(stopped, says)
    greedy = lambda seen: model(seen).logits[:, -1].argmax(-1)  # noqa: E731
    text, lengths = generate(greedy, ids, 8, None, 0, first)
    assert text[0].tolist() == [1, 2, 3, *first, *[0] * 6]
    assert lengths.tolist() == [5, 11]


def test_stop_strings_match_across_the_end_of_the_prompt(hf):
    tokenizers = pytest.importorskip("tokenizers")
    letters = tokenizers.Tokenizer(tokenizers.models.WordLevel({c: i for i, c in enumerate("abcdef")}, unk_token="a"))
    letters.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    letters.decoder = tokenizers.decoders.Fuse()
    stop = hf.StopStringCriteria(hf.PreTrainedTokenizerFast(tokenizer_object=letters), ["cd"])
    prompt, new = torch.tensor([[0, 2]]), torch.tensor([[3]])
    assert stop(torch.cat([prompt, new], 1), None).item()
    assert generate(lambda ids: new[:, 0], prompt, 2, None, 0, stop_ids=[2, 3])[1].tolist() == [4]
