"""The mark of what only a GPU can show: it runs where there is one, and says elsewhere why it does not."""

from __future__ import annotations

import pytest
import torch


def needs_gpu(test):
    """The test, marked ``gpu`` and skipped where there is no CUDA device."""
    missing = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
    return pytest.mark.gpu(missing(test))
