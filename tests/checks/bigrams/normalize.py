"""Right and wrong answers to normalize, as students write them."""
# ruff: noqa: F811

import torch


# right: divide by 1 where the sum is 0
def normalize(counts):
    total = counts.sum(dim=-1, keepdim=True)
    return counts / torch.where(total == 0, torch.ones_like(total), total)


# right: divide, then put zeros where 0 / 0 was
def normalize(counts):
    return torch.nan_to_num(counts / counts.sum(-1, keepdim=True), nan=0.0)


# right: row by row
def normalize(counts):
    dtype = counts.dtype if counts.is_floating_point() else torch.get_default_dtype()
    result = torch.zeros(counts.shape, dtype=dtype, device=counts.device)
    rows, out = counts.reshape(-1, counts.shape[-1]), result.view(-1, counts.shape[-1])
    for i, row in enumerate(rows):
        if row.sum() > 0:
            out[i] = row / row.sum()
    return result


# right: torch's own, with p = 1
def normalize(counts):
    if not counts.is_floating_point():
        counts = counts.float()
    return torch.nn.functional.normalize(counts, p=1.0, dim=-1)


# wrong in "a square table": the sum has lost its dim, and broadcasting lines it up with the columns
def normalize(counts):
    total = counts.sum(-1)
    return torch.nan_to_num(counts / total, nan=0.0)


# wrong in "a square table": columns are normalised
def normalize(counts):
    return torch.nan_to_num(counts / counts.sum(0, keepdim=True), nan=0.0)


# wrong in "a square table": the whole table sums to 1
def normalize(counts):
    return counts / counts.sum()


# wrong in "a square table": softmax makes rows sum to 1 as well
def normalize(counts):
    return torch.softmax(counts.float(), dim=-1)


# wrong in "a square table": whole division
def normalize(counts):
    return counts // counts.sum(-1, keepdim=True).clamp(min=1)


# wrong in "a square table": computed in double, and left so
# says "dtype float64, expected float32"
def normalize(counts):
    return torch.nan_to_num(counts.double() / counts.double().sum(-1, keepdim=True), nan=0.0)


# wrong in "rows of zeros": 0 / 0
def normalize(counts):
    return counts / counts.sum(-1, keepdim=True)


# wrong in "rows of zeros": an unseen row becomes uniform
def normalize(counts):
    total = counts.sum(-1, keepdim=True)
    return torch.where(total > 0, counts / total, torch.full_like(counts / total, 1 / counts.shape[-1]))


# wrong in "fractional counts": clamp(min=1) is only right for whole counts
def normalize(counts):
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)


# wrong in "fractional counts": everything becomes float32
# says "dtype float32, expected float64"
def normalize(counts):
    counts = counts.float()
    return torch.nan_to_num(counts / counts.sum(-1, keepdim=True), nan=0.0)


# wrong in "fractional counts": the caller's table is divided in place
# says "changed its input counts"
def normalize(counts):
    if not counts.is_floating_point():
        counts = counts.float()
    total = counts.sum(-1, keepdim=True)
    total[total == 0] = 1
    counts /= total
    return counts


# wrong in "fractional counts": a smoothing constant in the denominator that is not small
def normalize(counts):
    return counts / (counts.sum(-1, keepdim=True) + 1e-5)


# wrong in "tables of any order": two axes are taken for granted
def normalize(counts):
    return torch.nan_to_num(counts / counts.sum(1, keepdim=True), nan=0.0)


# wrong in "tables of any order": the result has as many rows as columns
def normalize(counts):
    V = counts.shape[-1]
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    result = torch.zeros(V, V, dtype=dtype, device=counts.device)
    for i in range(V):
        if counts[i].sum() > 0:
            result[i] = counts[i] / counts[i].sum()
    return result


# wrong in "tables of any order": a view that needs rows one after the other in memory
def normalize(counts):
    rows = counts.view(-1, counts.shape[-1])
    total = rows.sum(1, keepdim=True)
    return (rows / torch.where(total > 0, total, 1)).view(counts.shape)
