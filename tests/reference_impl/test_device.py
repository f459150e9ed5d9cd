"""The one rule for device and dtype, on the machine at hand and on those that are not."""

from __future__ import annotations

import pytest
import torch
from needs_gpu import needs_gpu

from reference_impl.device import pick_device, pick_dtype


def test_the_device_is_cuda_exactly_when_there_is_one():
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_cuda_device_is_taken_when_it_is_there(monkeypatch, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert pick_device() == torch.device(device)


@pytest.mark.parametrize(("name", "capability", "dtype"), [
    ("T4", (7, 5), torch.float32), ("V100", (7, 0), torch.float32),
    ("A100", (8, 0), torch.bfloat16), ("L4", (8, 9), torch.bfloat16), ("H100", (9, 0), torch.bfloat16),
])
def test_bf16_only_where_the_device_computes_in_it(monkeypatch, name, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # as a T4 says, through emulation
    assert pick_dtype("cuda", low_precision=True) == dtype
    assert pick_dtype("cuda") == torch.float32


def test_the_cpu_computes_in_float32():
    assert pick_dtype("cpu") == pick_dtype(torch.device("cpu"), low_precision=True) == torch.float32


@needs_gpu
def test_a_real_device_multiplies_in_the_dtype_it_was_given():
    device = pick_device()
    x = torch.ones(8, 8, device=device, dtype=pick_dtype(device, low_precision=True))
    assert (x @ x).float().sum().item() == 8**3
