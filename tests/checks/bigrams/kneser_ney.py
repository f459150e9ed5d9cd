"""Right and wrong answers to kneser_ney, as students write them."""
# ruff: noqa: F811

import torch


# right: the recursion as it is printed
def kneser_ney(counts, context, discount, bos):
    n, V = counts.ndim, counts.shape[-1]
    dtype = counts.dtype if counts.is_floating_point() else torch.get_default_dtype()

    def ngram_counts(h):
        raw = counts
        while raw.ndim > len(h) + 2:
            raw = raw.sum(0)
        if len(h) == n - 1:
            return raw[tuple(h)]
        if h and h[0] == bos:
            return raw.sum(0)[tuple(h)]
        return (raw > 0).sum(0)[tuple(h)]

    def p(h):
        if h is None:
            uniform = torch.full((V,), 1 / (V - 1), dtype=dtype, device=counts.device)
            uniform[bos] = 0
            return uniform
        c = ngram_counts(h).to(dtype)
        lower = p(h[1:] if h else None)
        if c.sum() == 0:
            return lower
        gamma = torch.minimum(c, torch.tensor(discount, dtype=dtype, device=c.device)).sum() / c.sum()
        return (c - discount).clamp(min=0) / c.sum() + gamma * lower

    return p(list(context))


# right: entry by entry, in Python numbers
def kneser_ney(counts, context, discount, bos):
    n, V = counts.ndim, counts.shape[-1]
    seen = {tuple(i): counts[tuple(i)].item() for i in counts.nonzero().tolist()}
    p = [0.0 if w == bos else 1 / (V - 1) for w in range(V)]
    for m in range(len(context) + 1):
        h = tuple(context[len(context) - m :])
        c = [0.0] * V
        if m == n - 1 or h[:1] == (bos,):
            for ngram, times in seen.items():
                if ngram[n - 1 - m : -1] == h:
                    c[ngram[-1]] += times
        else:
            for *_, w in {ngram[n - 2 - m :] for ngram in seen if ngram[n - 1 - m : -1] == h}:
                c[w] += 1
        total = sum(c)
        if total:
            kinds = sum(x > 0 for x in c)
            p = [max(x - discount, 0) / total + discount * kinds / total * q for x, q in zip(c, p)]
    dtype = counts.dtype if counts.is_floating_point() else torch.get_default_dtype()
    return torch.tensor(p, dtype=dtype, device=counts.device)


# right: tables of all orders first, then a loop from short to long contexts
def kneser_ney(counts, context, discount, bos):
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    raw = [counts]
    while raw[0].ndim > 1:
        raw.insert(0, raw[0].sum(0))
    used = [(higher > 0).sum(0) for higher in raw[1:]] + [counts]
    for order in range(2, counts.ndim):
        used[order - 1][bos] = raw[order - 1][bos]
    V = counts.shape[-1]
    p = (torch.arange(V, device=counts.device) != bos).to(dtype) / (V - 1)
    for m in range(len(context) + 1):
        c = used[m][tuple(context[len(context) - m :])].to(dtype)
        if c.sum() > 0:
            p = ((c - discount).clamp(min=0) + c.clamp(max=discount).sum() * p) / c.sum()
    return p


# wrong in "a seen context": the lower order counts how often a word occurs, not after how many
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    for m in range(len(context) + 1):
        c = counts
        while c.ndim > m + 1:
            c = c.sum(0)
        c = c[tuple(context[len(context) - m :])].to(p.dtype)
        if c.sum() > 0:
            p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "a seen context": counts how many words follow w, in place of how many come before it
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    followers = (counts > 0).sum(1).float()
    for c in (followers, counts[context[0]].float()):
        p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "a seen context": the weight of the lower order is D itself
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = (torch.arange(V) != bos) / (V - 1)
    for c in ((counts > 0).sum(0), counts[context[0]]):
        p = (c - discount).clamp(min=0) / c.sum() + discount * p
    return p


# wrong in "a seen context": the weight of the lower order is D over the total, once for all kinds of ids
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = (torch.arange(V) != bos) / (V - 1)
    for c in ((counts > 0).sum(0), counts[context[0]]):
        p = (c - discount).clamp(min=0) / c.sum() + discount / c.sum() * p
    return p


# wrong in "a seen context": the lower order is not discounted, as in many slides
def kneser_ney(counts, context, discount, bos):
    lower = (counts > 0).sum(0).float()
    lower = lower / lower.sum()
    c = counts[context[0]].float()
    return (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * lower


# wrong in "a seen context": the begin token has its share of the uniform distribution
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / V)
    for c in ((counts > 0).sum(0).float(), counts[context[0]].float()):
        p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "a seen context": what the discount took is the same for every context
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    for c in ((counts > 0).sum(0).float(), counts[context[0]].float()):
        p = (c - discount).clamp(min=0) / c.sum() + discount * p
    return p


# wrong in "a seen context": back-off, the lower order serves unseen words only
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    for c in ((counts > 0).sum(0).float(), counts[context[0]].float()):
        gamma = c.clamp(max=discount).sum() / c.sum()
        p = torch.where(c > 0, (c - discount) / c.sum(), gamma * p)
    return p


# wrong in "a seen context": negative counts are not cut off at 0
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    for c in ((counts > 0).sum(0).float(), counts[context[0]].float()):
        p = (c - discount) / c.sum() + discount * (c > 0).sum() / c.sum() * p
    return p


# wrong in "unseen contexts": 0 / 0
def kneser_ney(counts, context, discount, bos):
    V, n = counts.shape[-1], counts.ndim
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    p = torch.full((V,), 1 / (V - 1), dtype=dtype)
    p[bos] = 0
    for m in range(len(context) + 1):
        higher = counts
        while higher.ndim > m + 2:
            higher = higher.sum(0)
        h = tuple(context[len(context) - m :])
        c = higher[h] if m == n - 1 else higher.sum(0)[h] if h[:1] == (bos,) else (higher > 0).sum(0)[h]
        c = c.to(dtype)
        p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "unseen contexts": an unseen context gives the uniform distribution
def kneser_ney(counts, context, discount, bos):
    V, n = counts.shape[-1], counts.ndim
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    uniform = torch.full((V,), 1 / (V - 1), dtype=dtype)
    uniform[bos] = 0
    p = uniform
    for m in range(len(context) + 1):
        higher = counts
        while higher.ndim > m + 2:
            higher = higher.sum(0)
        h = tuple(context[len(context) - m :])
        c = higher[h] if m == n - 1 else higher.sum(0)[h] if h[:1] == (bos,) else (higher > 0).sum(0)[h]
        c = c.to(dtype)
        if c.sum() == 0:
            return uniform
        p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "the empty context": the longest context of those asked for is the top order
def kneser_ney(counts, context, discount, bos):
    V = counts.shape[-1]
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    p = torch.full((V,), 1 / (V - 1), dtype=dtype)
    p[bos] = 0
    for m in range(len(context) + 1):
        higher = counts
        while higher.ndim > m + 2:
            higher = higher.sum(0)
        h = tuple(context[len(context) - m :])
        raw = higher if higher.ndim == m + 1 else higher.sum(0)
        c = (raw[h] if m == len(context) or h[:1] == (bos,) else (higher > 0).sum(0)[h]).to(dtype)
        if c.sum() > 0:
            p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "trigrams": two orders only, the last id of the context
def kneser_ney(counts, context, discount, bos):
    while counts.ndim > 2:
        counts = counts.sum(0)
    V = counts.shape[-1]
    p = torch.full((V,), 1 / (V - 1))
    p[bos] = 0
    orders = [(counts > 0).sum(0), *[counts[w] for w in context[-1:]]] if counts.ndim > 1 else [counts]
    for c in orders:
        if c.sum() > 0:
            p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p


# wrong in "contexts that begin with the begin token": they count what came before, like all others
def kneser_ney(counts, context, discount, bos):
    V, n = counts.shape[-1], counts.ndim
    dtype = counts.dtype if counts.is_floating_point() else torch.float32
    p = torch.full((V,), 1 / (V - 1), dtype=dtype)
    p[bos] = 0
    for m in range(len(context) + 1):
        higher = counts
        while higher.ndim > m + 2:
            higher = higher.sum(0)
        h = tuple(context[len(context) - m :])
        c = (higher[h] if m == n - 1 else (higher > 0).sum(0)[h]).to(dtype)
        if c.sum() > 0:
            p = (c - discount).clamp(min=0) / c.sum() + c.clamp(max=discount).sum() / c.sum() * p
    return p
