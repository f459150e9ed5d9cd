"""The one rule for where tensors live and how wide numbers are: CUDA when there, float32, bf16 where it is real."""

from __future__ import annotations

import torch


def pick_device() -> torch.device:
    """``cuda`` when a CUDA device is there, else ``cpu``.

    >>> pick_device().type in ("cuda", "cpu")
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(device: torch.device | str, low_precision: bool = False) -> torch.dtype:
    """float32; with ``low_precision``, bfloat16 where the device computes in it.

    That is a CUDA device of compute capability 8.0 (Ampere) and above. A T4 is 7.5, where
    ``torch.cuda.is_bf16_supported()`` says True through emulation, so that is not asked.

    >>> pick_dtype("cpu"), pick_dtype("cpu", low_precision=True)
    (torch.float32, torch.float32)
    """
    device = torch.device(device)
    fast = low_precision and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if fast else torch.float32
