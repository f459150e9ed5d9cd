"""Right and wrong answers to interpolate, as students write them."""
# ruff: noqa: F811

import itertools

import torch


# right: weighted sums of the rows and of the rows' masses
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    mass = sum(weight * table.sum(-1, keepdim=True) for weight, table in zip(weights, tables))
    return torch.where(mass > 0, mixed / mass, torch.zeros_like(mixed))


# right: all tables expanded and stacked, weights masked and normalised
def interpolate(tables, weights):
    shape = max((table.shape for table in tables), key=len)
    stack = torch.stack([table.expand(shape) for table in tables])
    share = torch.tensor(weights, dtype=stack.dtype, device=stack.device).view(-1, *[1] * len(shape))
    share = share * (stack.sum(-1, keepdim=True) > 0)
    total = share.sum(0, keepdim=True)
    share = share / torch.where(total > 0, total, torch.ones_like(total))
    return (share * stack).sum(0)


# right: context by context
def interpolate(tables, weights):
    largest = max(tables, key=lambda table: table.ndim)
    result = torch.zeros_like(largest)
    for context in itertools.product(*[range(size) for size in largest.shape[:-1]]):
        total = 0.0
        for table, weight in zip(tables, weights):
            row = table[context[len(context) - table.ndim + 1 :]]
            if row.any() and weight > 0:
                result[context] += weight * row
                total += weight
        if total > 0:
            result[context] /= total
    return result


# right: add the tables up, then let every row sum to 1
def interpolate(tables, weights):
    mixed = torch.zeros((), dtype=tables[0].dtype, device=tables[0].device)
    for table, weight in zip(tables, weights):
        mixed = mixed + weight * table
    return torch.nan_to_num(mixed / mixed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a unigram and a bigram table": the unigram is put along the contexts
def interpolate(tables, weights):
    unigram, bigram = tables
    return weights[0] * unigram[:, None] + weights[1] * bigram


# wrong in "a unigram and a bigram table": the weights change places
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(reversed(weights), tables))
    return torch.nan_to_num(mixed / mixed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a unigram and a bigram table": the plain mean
def interpolate(tables, weights):
    mixed = sum(tables)
    return torch.nan_to_num(mixed / mixed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a unigram and a bigram table": a product of experts in place of a mixture
def interpolate(tables, weights):
    mixed = torch.exp(sum(weight * table.log() for weight, table in zip(weights, tables)))
    return torch.nan_to_num(mixed / mixed.sum(-1, keepdim=True), nan=0.0)


# wrong in "a unigram and a bigram table": back-off, the longest context that was seen speaks alone
def interpolate(tables, weights):
    result = torch.zeros(max((table.shape for table in tables), key=len))
    for table in sorted(tables, key=lambda table: table.ndim):
        result = torch.where(table.sum(-1, keepdim=True) > 0, table, result)
    return result


# wrong in "a unigram and a bigram table": the caller's table is scaled in place
# says "changed its input tables"
def interpolate(tables, weights):
    result = 0
    for table, weight in zip(tables, weights):
        table *= weight
        result = result + table
    return torch.nan_to_num(result / result.sum(-1, keepdim=True), nan=0.0)


# wrong in "unseen contexts": the weight of a table that has nothing to say is lost
def interpolate(tables, weights):
    return sum(weight * table for weight, table in zip(weights, tables))


# wrong in "unseen contexts": shared entry by entry, as if a zero in a seen row were no opinion
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    share = sum(weight * (table > 0) for weight, table in zip(weights, tables))
    return torch.where(share > 0, mixed / share, torch.zeros_like(mixed))


# wrong in "unseen contexts": one look at the whole table, not at each row
def interpolate(tables, weights):
    speaking = [(table, weight) for table, weight in zip(tables, weights) if table.any()]
    total = sum(weight for _, weight in speaking)
    return sum(weight / total * table for table, weight in speaking)


# wrong in "unseen contexts": the missing mass is spread evenly
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    return mixed + (sum(weights) - mixed.sum(-1, keepdim=True)) / mixed.shape[-1]


# wrong in "three orders, listed in any order": the last table is taken for the largest
def interpolate(tables, weights):
    result = torch.zeros_like(tables[-1])
    for table, weight in zip(tables, weights):
        result += weight * table
    return torch.nan_to_num(result / result.sum(-1, keepdim=True), nan=0.0)


# wrong in "three orders, listed in any order": weights are taken to sum to 1 where all tables speak
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    silent = ~torch.stack(torch.broadcast_tensors(*[table.any(-1, keepdim=True) for table in tables])).all(0)
    return torch.nan_to_num(torch.where(silent, mixed / mixed.sum(-1, keepdim=True), mixed), nan=0.0)


# wrong in "nothing to go by": 0 / 0 where no table speaks
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    return mixed / mixed.sum(-1, keepdim=True)


# wrong in "nothing to go by": the uniform distribution where no table speaks
def interpolate(tables, weights):
    mixed = sum(weight * table for weight, table in zip(weights, tables))
    return torch.nan_to_num(mixed / mixed.sum(-1, keepdim=True), nan=1 / mixed.shape[-1])
