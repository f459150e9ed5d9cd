"""Right and wrong answers to additive, as students write them."""
# ruff: noqa: F811

import torch


# right: the formula, with zeros where the denominator is 0
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    total = counts.sum(-1, keepdim=True) + k * counts.shape[-1]
    return torch.where(total > 0, (counts + k) / total, torch.zeros_like(counts + k)).to(
        counts.dtype if counts.is_floating_point() else torch.float32)


# right: smooth the counts, then normalise them
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    dtype = counts.dtype if counts.is_floating_point() else torch.get_default_dtype()
    smoothed = counts.to(dtype) + k
    total = smoothed.sum(-1, keepdim=True)
    return torch.nan_to_num(smoothed / total, nan=0.0)


# right: a mixture of the relative frequencies and the uniform distribution
def additive(counts, k=1.0):
    assert k >= 0
    if not counts.is_floating_point():
        counts = counts.float()
    V, total = counts.shape[-1], counts.sum(-1, keepdim=True)
    frequencies = counts / total.masked_fill(total == 0, 1)
    trust = total / (total + k * V).masked_fill(total + k * V == 0, 1)
    return trust * frequencies + ((1 - trust) / V if k > 0 else 0)


# wrong in "a fractional k": the denominator grows by k, not by k V
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    return torch.nan_to_num((counts + k) / (counts.sum(-1, keepdim=True) + k), nan=0.0)


# wrong in "a fractional k": only unseen entries get k
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = torch.where(counts == 0, k, counts.float())
    return torch.nan_to_num(smoothed / smoothed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a fractional k": k is rounded
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = counts + int(k)
    return torch.nan_to_num(smoothed / smoothed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a fractional k": the sum has lost its dim
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = counts + k
    return torch.nan_to_num(smoothed / smoothed.sum(-1), nan=0.0)


# wrong in "a fractional k": frequencies first, then k
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    p = torch.nan_to_num(counts / counts.sum(-1, keepdim=True), nan=0.0) + k
    return torch.nan_to_num(p / p.sum(-1, keepdim=True), nan=0.0)


# wrong in "a fractional k": adds in place, which an integer table refuses
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    counts += k
    return counts / counts.sum(-1, keepdim=True)


# wrong in "k = 0": 0 / 0
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = counts + float(k)
    return smoothed / smoothed.sum(-1, keepdim=True)


# wrong in "k = 0": an unseen row is always uniform
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = counts + float(k)
    return torch.nan_to_num(smoothed / smoothed.sum(-1, keepdim=True), nan=1 / counts.shape[-1])


# wrong in "tables of any order": V is the number of rows
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    total = counts.sum(-1, keepdim=True) + k * len(counts)
    return torch.nan_to_num((counts + k) / total, nan=0.0)


# wrong in "tables of any order": a floating table is added to where it lies
# says "changed its input counts"
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    if not counts.is_floating_point():
        counts = counts.float()
    counts += k
    return torch.nan_to_num(counts / counts.sum(-1, keepdim=True), nan=0.0)


# wrong in "tables of any order": everything becomes float32
# says "dtype float32, expected float64"
def additive(counts, k=1.0):
    if k < 0:
        raise ValueError("k must not be negative")
    smoothed = counts.float() + k
    return torch.nan_to_num(smoothed / smoothed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a negative k": anything goes
def additive(counts, k=1.0):
    smoothed = counts.to(counts.dtype if counts.is_floating_point() else torch.float32) + k
    return torch.nan_to_num(smoothed / smoothed.sum(-1, keepdim=True), nan=0.0)
