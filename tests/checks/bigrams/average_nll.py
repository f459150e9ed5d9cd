"""Right and wrong answers to average_nll, as students write them."""
# ruff: noqa: F811, RUF007

import math

import torch


# right: token by token with Python floats
def average_nll(table, sequences, bos, eos):
    total, tokens = 0.0, 0
    for sequence in sequences:
        padded = [bos] * (table.ndim - 1) + sequence + [eos]
        for start in range(len(padded) - table.ndim + 1):
            p = table[tuple(padded[start : start + table.ndim])].item()
            total += -math.log(p) if p > 0 else math.inf
            tokens += 1
    if tokens == 0:
        raise ValueError("no sequences")
    return total / tokens


# right: one look-up for all windows, a tensor with no dimension
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    return -table[windows.unbind(1)].log().mean()


# right: logarithms of the whole table first, then the sum of those that occur
def average_nll(table, sequences, bos, eos):
    if len(sequences) == 0:
        raise ValueError("the mean over no token is undefined")
    logs = torch.log(table)
    losses = []
    for sequence in sequences:
        context = (bos,) * (table.ndim - 1)
        for token in [*sequence, eos]:
            losses.append(-logs[(*context, token)])
            context = (*context, token)[1:]
    return torch.stack(losses).mean().item()


# right: counts times logarithms, over the n-grams that occur
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    if not sequences:
        raise ValueError("nothing to score")
    counts = torch.zeros_like(table)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(sequence) + 1):
            counts[tuple(padded[start : start + n])] += 1
    seen = counts > 0
    return -(counts[seen] * table[seen].log()).sum() / counts.sum()


# wrong in "texts of unequal lengths": the mean of the sequences' means
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    means = []
    for sequence in sequences:
        windows = torch.tensor([bos] * (n - 1) + sequence + [eos]).unfold(0, n, 1)
        means.append(-table[windows.unbind(1)].log().mean())
    return torch.stack(means).mean()


# wrong in "texts of unequal lengths": the end is not scored
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    losses = []
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence
        losses += [-table[tuple(padded[i : i + n])].log() for i in range(len(sequence))]
    return torch.stack(losses).mean()


# wrong in "texts of unequal lengths": the end is scored but not counted
def average_nll(table, sequences, bos, eos):
    n, total = table.ndim, 0.0
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        total -= sum(table[tuple(padded[i : i + n])].log().item() for i in range(len(sequence) + 1))
    return total / sum(len(sequence) for sequence in sequences)


# wrong in "texts of unequal lengths": the first token is not scored
def average_nll(table, sequences, bos, eos):
    losses = []
    for sequence in sequences:
        padded = [*sequence, eos]
        losses += [-table[a, b].log() for a, b in zip(padded, padded[1:])]
    return torch.stack(losses).mean()


# wrong in "texts of unequal lengths": bits, not nats
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    return -table[windows.unbind(1)].log2().mean()


# wrong in "texts of unequal lengths": the sum
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    return -table[windows.unbind(1)].log().sum()


# wrong in "texts of unequal lengths": minus the logarithm of the mean probability
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    return -table[windows.unbind(1)].mean().log()


# wrong in "texts of unequal lengths": the caller's lists get the end token
# says "changed its input sequences"
def average_nll(table, sequences, bos, eos):
    n, losses = table.ndim, []
    for sequence in sequences:
        sequence.append(eos)
        padded = [bos] * (n - 1) + sequence
        losses += [-table[tuple(padded[i : i + n])].log() for i in range(len(sequence))]
    return torch.stack(losses).mean()


# wrong in "zeros that no text meets": 0 * -inf is NaN
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    if not sequences:
        raise ValueError("nothing to score")
    counts = torch.zeros_like(table)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(sequence) + 1):
            counts[tuple(padded[start : start + n])] += 1
    return -(counts * table.log()).sum() / counts.sum()


# wrong in "an unseen pair": a tiny number inside the logarithm makes the impossible merely expensive
def average_nll(table, sequences, bos, eos):
    n = table.ndim
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    return -(table[windows.unbind(1)] + 1e-10).log().mean()


# wrong in "an unseen pair": impossible tokens are left out
def average_nll(table, sequences, bos, eos):
    n, losses = table.ndim, []
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(sequence) + 1):
            p = table[tuple(padded[start : start + n])].item()
            if p > 0:
                losses.append(-math.log(p))
    return sum(losses) / len(losses)


# wrong in "an unseen pair": math.log(0) raises
def average_nll(table, sequences, bos, eos):
    n, losses = table.ndim, []
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        losses += [-math.log(table[tuple(padded[i : i + n])]) for i in range(len(sequence) + 1)]
    return sum(losses) / len(losses)


# wrong in "tables of other orders": pairs only
def average_nll(table, sequences, bos, eos):
    losses = [-table[a, b].log() for s in sequences for a, b in zip([bos, *s], [*s, eos])]
    return torch.stack(losses).mean()


# wrong in "a long text": probabilities are multiplied first
def average_nll(table, sequences, bos, eos):
    n, product, tokens = table.ndim, 1.0, 0
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(sequence) + 1):
            product *= table[tuple(padded[start : start + n])].item()
            tokens += 1
    return -math.log(product) / tokens if product > 0 else tokens / tokens * math.inf


# wrong in "no text at all": nothing costs nothing
def average_nll(table, sequences, bos, eos):
    n, losses = table.ndim, []
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        losses += [-table[tuple(padded[i : i + n])].log().item() for i in range(len(sequence) + 1)]
    return sum(losses) / len(losses) if losses else 0.0
