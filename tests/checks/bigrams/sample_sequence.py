"""Right and wrong answers to sample_sequence, as students write them."""
# ruff: noqa: F811, RUF005

import torch


# right: a running sum, id by id
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = [bos] * (table.ndim - 1), []
    for u in uniforms:
        row = table[tuple(context)].tolist()
        if len(ids) == max_len or sum(row) == 0:
            break
        total, token = 0.0, None
        for i, p in enumerate(row):
            if p > 0:
                token = i
                total += p
                if total > u:
                    break
        if token == eos:
            break
        ids.append(token)
        context = [*context, token][1:]
    return ids


# right: searchsorted from the right in a float64 CDF
def sample_sequence(table, uniforms, max_len, bos, eos):
    n, ids = table.ndim, []
    history = [bos] * (n - 1)
    for u in uniforms[:max_len]:
        row = table[tuple(history[len(history) - n + 1 :])].double()
        if not row.any():
            break
        token = int(torch.searchsorted(row.cumsum(0), u, right=True))
        token = min(token, int(row.nonzero().max()))
        if token == eos:
            break
        ids.append(token)
        history.append(token)
    return ids


# right: argmax of a comparison, in the table's own precision
def sample_sequence(table, uniforms, max_len, bos, eos):
    ids, context, drawn = [], (bos,) * (table.ndim - 1), 0
    while len(ids) < max_len and drawn < len(uniforms):
        row = table[context]
        if row.sum() == 0:
            return ids
        cdf = torch.cumsum(row, dim=0)
        cdf = cdf / cdf[-1]
        token = (cdf > uniforms[drawn]).int().argmax().item()
        drawn += 1
        if token == eos:
            return ids
        ids.append(token)
        context = (context + (token,))[1:]
    return ids


# wrong in "until the end token": the likeliest id, whatever u is
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for _ in uniforms:
        row = table[context]
        token = int(row.argmax())
        if len(ids) == max_len or token == eos or not row.any():
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "until the end token": the end token is kept
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for u in uniforms:
        row = table[context]
        if len(ids) == max_len or not row.any():
            break
        token = int((row.cumsum(0) <= u).sum())
        ids.append(token)
        if token == eos:
            break
        context = (*context, token)[1:]
    return ids


# wrong in "until the end token": the begin token is kept
def sample_sequence(table, uniforms, max_len, bos, eos):
    ids = [bos]
    for u in uniforms[:max_len]:
        row = table[ids[-1]]
        token = int((row.cumsum(0) <= u).sum())
        if token == eos or not row.any():
            break
        ids.append(token)
    return ids


# wrong in "until the end token": the context never moves on
def sample_sequence(table, uniforms, max_len, bos, eos):
    row, ids = table[bos], []
    for u in uniforms[:max_len]:
        token = int((row.cumsum(0) <= u).sum())
        if token == eos:
            break
        ids.append(token)
    return ids


# wrong in "until the end token": the first uniform serves for every draw
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for _ in uniforms[:max_len]:
        row = table[context]
        token = int((row.cumsum(0) <= uniforms[0]).sum())
        if token == eos or not row.any():
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "until the end token": randomness of its own
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for _ in uniforms[:max_len]:
        row = table[context]
        if not row.any():
            break
        token = int(torch.multinomial(row, 1))
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "until the end token": columns in place of rows
def sample_sequence(table, uniforms, max_len, bos, eos):
    ids, last = [], bos
    for u in uniforms[:max_len]:
        column = table[:, last]
        last = min(int((column.cumsum(0) <= u).sum()), len(column) - 1)
        if last == eos or not column.any():
            break
        ids.append(last)
    return ids


# wrong in "until the end token": the caller's uniforms are used up
# says "changed its input uniforms"
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    while uniforms and len(ids) < max_len:
        row = table[context]
        if not row.any():
            break
        token = int((row.cumsum(0) <= uniforms.pop(0)).sum())
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "the other ways to stop": a row of zeros is drawn from
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for u in uniforms[:max_len]:
        cdf = table[context].cumsum(0)
        token = int((cdf > u).int().argmax())
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "the other ways to stop": no uniforms left raises
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    source = iter(uniforms)
    while len(ids) < max_len:
        row = table[context]
        if not row.any():
            break
        token = int((row.cumsum(0) <= next(source)).sum())
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "the other ways to stop": one id too many
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for u in uniforms:
        row = table[context]
        if len(ids) > max_len or not row.any():
            break
        token = int((row.cumsum(0) <= u).sum())
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "on a step of the CDF": >= in place of >
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for u in uniforms[:max_len]:
        row = table[context]
        if not row.any():
            break
        token = int(torch.searchsorted(row.double().cumsum(0), u))
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "past the last step": the last id of the table, which may have probability 0
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, ids = (bos,) * (table.ndim - 1), []
    for u in uniforms[:max_len]:
        row = table[context].double()
        if not row.any():
            break
        token = min(int((row.cumsum(0) <= u).sum()), len(row) - 1)
        if token == eos:
            break
        ids.append(token)
        context = (*context, token)[1:]
    return ids


# wrong in "tables of other orders": ids[-0:] is the whole list
def sample_sequence(table, uniforms, max_len, bos, eos):
    n = table.ndim
    history = [bos] * (n - 1)
    for u in uniforms[:max_len]:
        row = table[tuple(history[-(n - 1) :])].double()
        if not row.any():
            break
        token = min(int((row.cumsum(0) <= u).sum()), int(row.nonzero().max()))
        if token == eos:
            break
        history.append(token)
    return history[n - 1 :]
