"""Right and wrong answers to count_ngrams, as students write them."""
# ruff: noqa: F811

from collections import Counter

import torch


# right: a window slides over each padded sequence
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# right: a Counter of tuples, poured into a tensor
def count_ngrams(sequences, n, V, bos, eos):
    seen = Counter()
    for sequence in sequences:
        padded = (n - 1) * (bos,) + tuple(sequence) + (eos,)
        seen.update(zip(*[padded[i:] for i in range(n)]))
    counts = torch.zeros([V] * n, dtype=torch.long)
    for ngram, times in seen.items():
        counts[ngram] = times
    return counts


# right: one index_put_ that accumulates
def count_ngrams(sequences, n, V, bos, eos):
    grams = []
    for sequence in sequences:
        context = [bos] * (n - 1)
        for token in [*sequence, eos]:
            grams.append([*context, token])
            context = [*context, token][1:]
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    if grams:
        index = torch.tensor(grams).unbind(1)
        counts.index_put_(index, torch.ones(len(grams), dtype=torch.int64), accumulate=True)
    return counts


# right: a flat table and bincount
def count_ngrams(sequences, n, V, bos, eos):
    flat = []
    for sequence in sequences:
        padded = [bos] * (n - 1) + list(sequence) + [eos]
        for i in range(len(sequence) + 1):
            number = 0
            for token in padded[i : i + n]:
                number = number * V + token
            flat.append(number)
    return torch.bincount(torch.tensor(flat, dtype=torch.int64), minlength=V**n).reshape((V,) * n)


# wrong in "bigrams": the end token is forgotten
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "bigrams": the begin token is forgotten
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [*sequence, eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "bigrams": all sequences are one stream, so windows cross from one into the next
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    stream = []
    for sequence in sequences:
        stream += [bos] * (n - 1) + sequence + [eos]
    for start in range(len(stream) - n + 1):
        counts[tuple(stream[start : start + n])] += 1
    return counts


# wrong in "bigrams": a list in place of a tuple picks rows, so each window adds to n rows
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[padded[start : start + n]] += 1
    return counts


# wrong in "bigrams": += with a repeated index adds once
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        windows = torch.tensor([bos] * (n - 1) + sequence + [eos]).unfold(0, n, 1)
        counts[tuple(windows.T)] += 1
    return counts


# wrong in "bigrams": what was seen is marked, not counted
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] = 1
    return counts


# wrong in "bigrams": rows and columns are exchanged
# says "rows and columns are exchanged"
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(reversed(padded[start : start + n]))] += 1
    return counts


# wrong in "bigrams": counts in floating point
# says "dtype float32, expected int64"
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "bigrams": the padding is put into the caller's lists
# says "changed its input sequences"
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        for _ in range(n - 1):
            sequence.insert(0, bos)
        sequence.append(eos)
        for start in range(len(sequence) - n + 1):
            counts[tuple(sequence[start : start + n])] += 1
    return counts


# wrong in "other orders": one begin token, whatever n is
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos, *sequence, eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "other orders": n - 1 end tokens as well
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] * (n - 1) + sequence + [eos] * (n - 1)
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "other orders": pairs only
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros(V, V, dtype=torch.int64)
    for sequence in sequences:
        for a, b in zip([bos, *sequence], [*sequence, eos]):
            counts[a, b] += 1
    return counts


# wrong in "short, empty and no sequences": empty sequences are left out
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        if not sequence:
            continue
        padded = [bos] * (n - 1) + sequence + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start : start + n])] += 1
    return counts


# wrong in "short, empty and no sequences": no sequences are too few to stack
def count_ngrams(sequences, n, V, bos, eos):
    windows = torch.cat([torch.tensor([bos] * (n - 1) + s + [eos]).unfold(0, n, 1) for s in sequences])
    place = V ** torch.arange(n - 1, -1, -1)
    return torch.bincount((windows * place).sum(1), minlength=V**n).view((V,) * n)
