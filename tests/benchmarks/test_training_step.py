"""The step that is timed is the peer's step: the same loss, and the same weights after it."""

from __future__ import annotations

import pytest
import torch

from benchmarks import training_step
from reference_impl.gpt import Config

SMALL = Config(V=13, context=8, D=16, layers=2, H=2)


@pytest.mark.transformers
def test_a_small_comparison_gives_its_row():
    row = training_step.compare(2, 8, SMALL, steps=2)
    assert {"what", "ours", "peer", "ratio"} <= row.keys()
    assert row["ratio"] > 0
    assert len(row["seconds"]) == 2


@pytest.mark.transformers
def test_both_sides_have_the_same_weights_after_some_steps():
    mine, theirs, params, model = training_step.both(SMALL)
    ids = torch.randint(SMALL.V, (2, 8), generator=torch.Generator().manual_seed(1)).to(model.device)
    for _ in range(3):
        losses = [step(ids).item() for step in (mine, theirs)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    state = training_step.from_state_dict(model.state_dict())
    assert params.keys() == state.keys()
    for name, p in params.items():
        # Adam divides by the root of a mean of squares: where a gradient is nearly zero, its rounding becomes a step.
        assert (p.detach() - state[name]).abs().max() < 1e-4, name


@pytest.mark.transformers
def test_a_step_that_is_not_the_peers_is_not_timed(monkeypatch):
    monkeypatch.setattr(training_step, "gpt_logits", lambda params, ids, n_head: params["wte.weight"][ids] @ (
        params["wte.weight"].T))
    with pytest.raises(SystemExit, match="losses differ"):
        training_step.compare(2, 8, SMALL, steps=2)
