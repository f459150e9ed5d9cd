"""What holds for every function of the course: signature, arguments left alone, dtype, device, strides, errors."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import re

import pytest
import torch
from contract_examples import CALLS
from needs_gpu import needs_gpu
from torch.testing import assert_close

NAMES = sorted(name for name, (_, _, example) in CALLS.items() if example and name != "KVCache")
FLOATING = {  # functions of floating tensors, and what comes of a half-precision one where that is not its own dtype
    "log_softmax": None, "entropy": None, "kl": None, "ce_grad": None, "sequence_logprob": torch.float32,
    "total_probability": None, "normalize": None, "additive": None, "interpolate": None, "kneser_ney": None,
    "embed": None, "mlp_logits": None, "train_step": None, "mlp_backward": None, "cross_entropy": torch.float32,
    "position_influence": None, "bits_per_byte": None, "attention": None, "gpt_block": None, "gpt_logits": None,
    "temperature": None, "top_k": None, "top_p": None, "min_p": None, "repetition_penalty": None,
    "grouped_query_attention": None, "exact_match": None, "leave_one_out": None, "reinforce_loss": None,
    "fit_probe": None, "myopic_attention": None,
}
SMOOTH = ["log_softmax", "entropy", "kl", "ce_grad", "sequence_logprob", "total_probability", "embed", "mlp_logits",
          "cross_entropy", "attention", "gpt_block", "gpt_logits", "grouped_query_attention", "temperature",
          "exact_match", "leave_one_out", "fit_probe"]


def find(name: str):
    return getattr(importlib.import_module(f"reference_impl.{CALLS[name][0]}"), name)


def example(name: str, dtype=torch.float32) -> dict:
    return CALLS[name][2](dtype)


def leaves(value) -> list:
    """The tensors and plain values of a result, however they are nested."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, (list, tuple)) else [value]


def change(value, how):
    """``how`` applied to every tensor of an argument."""
    if isinstance(value, torch.Tensor):
        return how(value)
    if isinstance(value, dict):
        return {key: change(one, how) for key, one in value.items()}
    return [change(one, how) for one in value] if isinstance(value, (list, tuple)) else value


def assert_same(found, expected, **tolerance) -> None:
    assert len(leaves(found)) == len(leaves(expected)) > 0
    for one, other in zip(leaves(found), leaves(expected)):
        if isinstance(one, (torch.Tensor, float)):
            assert_close(one, other, equal_nan=True, **tolerance)
        else:
            assert one == other


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_function_of_the_course_is_there_as_the_outline_calls_it(name):
    module, arguments, _ = CALLS[name]
    parameters = inspect.signature(find(name)).parameters
    assert " ".join(parameters) == arguments
    assert find(name).__module__ == f"reference_impl.{module}"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_docstring_says_what_is_raised_and_shows_a_number(name):
    text = inspect.getdoc(find(name)) or ""
    members = "".join(inspect.getdoc(one) or "" for _, one in inspect.getmembers(find(name), inspect.isfunction))
    assert ">>>" in text + members
    assert "ValueError" in text + members
    assert len(text.splitlines()[0]) > 20


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_left_alone_and_a_second_call_gives_the_same(name):
    arguments = example(name)
    before = copy.deepcopy({key: value for key, value in arguments.items() if not isinstance(value, torch.Generator)})
    first = find(name)(**arguments)
    for key, value in before.items():
        if not callable(value):
            assert_same(arguments[key], value, rtol=0, atol=0)
            assert not any(one.requires_grad for one in leaves(arguments[key]) if isinstance(one, torch.Tensor))
    assert_same(find(name)(**example(name)), first, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter(name):
    def turned(tensor):
        if tensor.ndim < 2:
            return torch.stack([tensor, tensor], -1)[..., 0] if tensor.ndim else tensor
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)

    arguments = {key: change(value, turned) for key, value in example(name, torch.float64).items()}
    assert_same(find(name)(**arguments), find(name)(**example(name, torch.float64)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", sorted(FLOATING))
def test_results_keep_the_dtype_and_are_as_near_as_it_allows(name, dtype):
    found, expected = find(name)(**example(name, dtype)), find(name)(**example(name, torch.float64))
    half = dtype in (torch.float16, torch.bfloat16)
    wanted = FLOATING[name] if half and FLOATING[name] else dtype
    near = 8 * torch.finfo(dtype).eps  # a few roundings of inputs and of the result
    for one, other in zip(leaves(found), leaves(expected)):
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            assert one.dtype == wanted
            largest = max([1.0, *other[other.isfinite()].abs().flatten().tolist()])
            assert_close(one.double(), other, rtol=near, atol=near * largest)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_finite_differences(name):
    arguments = example(name, torch.float64)
    spots = [(key, None) for key, x in arguments.items() if isinstance(x, torch.Tensor) and x.is_floating_point()]
    spots += [(key, one) for key, x in arguments.items() if isinstance(x, dict) for one in x]

    def call(*tensors):
        mine = {key: dict(value) if isinstance(value, dict) else value for key, value in arguments.items()}
        for (key, one), tensor in zip(spots, tensors):
            if one is None:
                mine[key] = tensor
            else:
                mine[key][one] = tensor
        return tuple(one for one in leaves(find(name)(**mine)) if one.requires_grad)

    given = [arguments[key] if one is None else arguments[key][one] for key, one in spots]
    # Along one random direction: every entry counts, and a block of a GPT takes no minute.
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(call, [x.clone().requires_grad_() for x in given], fast_mode=True)


# What is said about a bad argument. What stands here is not one: (function, argument, mischief) and why.
TENSORS = [(name, key) for name in NAMES for key, value in example(name).items() if isinstance(value, torch.Tensor)]
NUMBERS = [(name, key) for name in NAMES for key, value in example(name).items() if isinstance(value, (int, float))]
FINE = {
    ("log_softmax", "logits", "another dim"): "any shape",
    ("entropy", "logits", "another dim"): "any leading dims",
    ("normalize", "counts", "another dim"): "any leading dims",
    ("additive", "counts", "another dim"): "any leading dims",
    ("normalize", "counts", "whole numbers"): "counts",
    ("additive", "counts", "whole numbers"): "counts",
    ("kneser_ney", "counts", "whole numbers"): "counts",
    ("attention", "q", "another dim"): "leading dims broadcast",
    ("attention", "k", "another dim"): "leading dims broadcast",
    ("attention", "v", "another dim"): "leading dims broadcast",
    ("attention", "mask", "another dim"): "leading dims broadcast",
    ("myopic_attention", "x", "another dim"): "any leading dims",
    ("myopic_attention", "mask", "another dim"): "leading dims broadcast",
    ("leave_one_out", "rewards", "whole numbers"): "a verified answer is worth 0 or 1",
    ("reinforce_loss", "advantage", "whole numbers"): "a verified answer is worth 0 or 1",
    ("temperature", "logits", "another dim"): "any leading dims",
    ("top_k", "logits", "another dim"): "any leading dims",
    ("top_p", "logits", "another dim"): "any leading dims",
    ("min_p", "logits", "another dim"): "any leading dims",
    ("sample", "probs", "another dim"): "said of u, which then differs",
    **{(name, key, "negative"): "may be below 0" for name, key in NUMBERS if key == "ignore_index"},
    ("causal_mask", "S", "None"): "as many keys as queries",
    ("generate", "eos", "None"): "no end token",
    ("generate", "context", "None"): "all that came before",
    ("kv_bytes", "bytes", "a fraction"): "quantised caches have less than a byte a number",
    ("pass_at_k", "c", "a tensor"): "many problems at once",
}


def mischief(right: object) -> dict[str, object]:
    """What may be wrong with a tensor or a number, and the one that is."""
    if not isinstance(right, torch.Tensor):
        wrong = {"a word": "two", "None": None, "NaN": math.nan, "complex": 1 + 2j, "a tensor": torch.tensor([1, 2])}
        return wrong | ({"a fraction": 1.5, "negative": -(10**9)} if isinstance(right, int) else {})
    wrong = {"a list": right.tolist(), "None": None, "another dim": right[None], "empty": right[:0],
             "complex": right.to(torch.complex64)}
    if right.is_floating_point():
        broken = right.clone()
        broken.view(-1)[0] = math.nan
        return wrong | {"NaN": broken, "whole numbers": right.long()}
    return wrong | {"floating": right.double()}


def refusal(name: str, arguments: dict) -> str | None:
    """What the function says of its arguments; None where it takes them."""
    try:
        find(name)(**arguments)
    except ValueError as error:
        return str(error)
    return None


def assert_refused(name: str, arguments: dict, key: str, kind: str) -> None:
    """One line of ValueError, with the argument's name in it."""
    said = refusal(name, arguments)
    assert said is not None, f"{name} takes {kind} for {key}"
    assert re.search(rf"\b{key}\b", said), f"{kind}: {said}"
    assert len(said.splitlines()) == 1, f"{kind}: {said}"


@pytest.mark.parametrize(("name", "key"), TENSORS + NUMBERS)
def test_a_bad_argument_gives_one_clear_sentence_that_names_it(name, key):
    right = example(name)
    for kind, wrong in mischief(right[key]).items():
        if (name, key, kind) not in FINE:
            assert_refused(name, right | {key: wrong}, key, kind)


@pytest.mark.parametrize(("name", "key", "kind"), FINE)
def test_what_is_excused_is_taken_or_said_of_another_argument(name, key, kind):
    right = example(name)
    said = refusal(name, right | {key: mischief(right[key])[kind]})
    assert said is None or not re.search(rf"\b{key}\b", said), f"no excuse is needed: {said}"


IDS = [(name, key) for name, key in TENSORS if key in ("ids", "targets", "X", "Y", "y")
       and name not in ("shift_targets", "generate")]  # which know of no vocabulary


@pytest.mark.parametrize(("name", "key"), IDS)
@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_named(name, key, wrong):
    right = example(name)
    bad = right[key].clone()
    bad.view(-1)[0] = wrong
    with pytest.raises(ValueError, match=rf"\b{key}\b.*{wrong}"):
        find(name)(**right | {key: bad})


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_what_the_cpu_gives_and_keeps_it_there(name):
    def moved(tensor):
        return tensor.cuda()

    found = find(name)(**{key: change(value, moved) for key, value in example(name).items()})
    for one, other in zip(leaves(found), leaves(find(name)(**example(name)))):
        if isinstance(one, torch.Tensor):
            assert_close(one.cpu(), other, equal_nan=True)
            assert one.is_cuda or not other.ndim
