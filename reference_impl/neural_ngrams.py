"""The n-gram as a network: K embeddings side by side, one hidden layer, a logit for every token.

Parameters are a dict of five tensors, ``C (V, D)``, ``W1 (K*D, H)``, ``b1 (H,)``, ``W2 (H, V)``, ``b2 (V,)``; a row
meets a matrix as ``x @ W``. Contexts are ``X (B, K)``, oldest id first, and the targets that follow them ``Y (B,)``.
Losses are in nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from reference_impl import arguments
from reference_impl.chain_rule import wide

NAMES = ("C", "W1", "b1", "W2", "b2")


def build_dataset(sequences: list[list[int]], K: int, bos: int, eos: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every context of K ids and the id that follows it: ``X (M, K), Y (M,)``, int64, on the CPU.

    Every sequence is padded with K ``bos`` and one ``eos`` and gives ``len(sequence) + 1`` examples, in order; an empty
    one gives the end token after K begin tokens. No window crosses from one sequence into the next. No sequences give
    M = 0. Raises ValueError for K < 1 and for anything that is not a list of lists of ids. Windows of words as in
    Bengio et al. (2003), section 2.

    >>> X, Y = build_dataset([[2, 3], [4]], K=2, bos=0, eos=1)
    >>> X.tolist(), Y.tolist()
    ([[0, 0], [0, 2], [2, 3], [0, 0], [0, 4]], [2, 3, 1, 4, 1])
    """
    arguments.whole("K", K, low=1)
    arguments.whole("bos", bos, low=0)
    arguments.whole("eos", eos, low=0)
    arguments.sequences("sequences", sequences, V=2**63)
    if not sequences:
        return torch.empty(0, K, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    begin = [bos] * K
    flat = torch.tensor([i for sequence in sequences for i in (*begin, *sequence, eos)], dtype=torch.int64)
    examples = torch.tensor([len(sequence) + 1 for sequence in sequences])
    # Each sequence before an example's own put K more ids in front of its window than examples before it.
    number = torch.repeat_interleave(torch.arange(len(sequences)), examples)
    windows = flat.unfold(0, K + 1, 1)[torch.arange(len(number)) + number * K]
    return windows[:, :K].contiguous(), windows[:, K].contiguous()


def embed(C: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    """The embeddings of each context, side by side, oldest first: ``(V, D), (B, K) -> (B, K*D)``.

    The same as ``one_hot(X) @ C``, without the zeros; in the gradient the contributions of a repeated id add up. Raises
    ValueError for an id outside 0 .. V - 1 (an index of -1 would silently be the last row) and for a NaN in a row that
    is looked up. Follows Bengio et al. (2003), section 2.

    >>> C = torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]])
    >>> embed(C, torch.tensor([[2, 0], [1, 1]]))
    tensor([[2.0000, 2.1000, 0.0000, 0.1000],
            [1.0000, 1.1000, 1.0000, 1.1000]])
    """
    V = arguments.tensor("C", C, "V D")["V"]
    arguments.tensor("X", X, "B K", "integer")
    rows = _rows(C, X, V)
    if rows.isnan().any():
        arguments.no_nan("C", C.detach())
    return rows


def mlp_logits(params: dict[str, torch.Tensor], X: torch.Tensor) -> torch.Tensor:
    """The logits of the token after each context, ``gelu(embed(C, X) @ W1 + b1) @ W2 + b2``: ``(B, K) -> (B, V)``.

    GELU is the exact one, x times the normal CDF of x, not its tanh approximation. Parameters that have become NaN give
    NaN: that a training run diverged must be seen. Raises ValueError when a parameter is missing, its shape or dtype
    does not fit, and for an id outside 0 .. V - 1. The network of Bengio et al. (2003) without
    their direct connections, and with the GELU of Hendrycks and Gimpel (2016) for tanh.

    >>> params = {"C": torch.tensor([[0.0], [1.0]]), "W1": torch.tensor([[1.0], [2.0]]), "b1": torch.tensor([0.0]),
    ...           "W2": torch.tensor([[1.0, -1.0]]), "b2": torch.tensor([0.0, 0.5])}
    >>> mlp_logits(params, torch.tensor([[1, 0], [0, 0]]))  # 1 * cdf(1) = .8413, and 0
    tensor([[ 0.8413, -0.3413],
            [ 0.0000,  0.5000]])
    """
    V = _sizes(params, X)["V"]
    hidden = F.gelu(torch.addmm(params["b1"], _rows(params["C"], X, V), params["W1"]))
    return torch.addmm(params["b2"], hidden, params["W2"])


def initial_params(V: int, D: int, H: int, K: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Parameters from which training starts well: a dict of ``C W1 b1 W2 b2``, on the generator's device.

    The mean loss on random contexts and targets is within 0.1 of ln V, because small ``W2`` make the logits nearly
    equal: a logit of variance v costs about v / 2 nats. No two hidden units are the same, and none is saturated: inputs
    of variance 1 reach them with variance 1. Biases are 0. The tensors have torch's default dtype and ask for no
    gradient. The same state of the generator gives the same parameters. Raises ValueError for a size below 1. Scales
    by fan-in as in LeCun et al. (1998), section 4.6.

    >>> params = initial_params(V=50, D=8, H=32, K=3, generator=torch.Generator().manual_seed(0))
    >>> {name: tuple(value.shape) for name, value in params.items()}
    {'C': (50, 8), 'W1': (24, 32), 'b1': (32,), 'W2': (32, 50), 'b2': (50,)}
    >>> loss = F.cross_entropy(mlp_logits(params, torch.tensor([[1, 2, 3]])), torch.tensor([4]))
    >>> abs(float(loss) - math.log(50)) < 0.1
    True
    """
    for name, size in {"V": V, "D": D, "H": H, "K": K}.items():
        arguments.whole(name, size, low=1)
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    device = generator.device

    def normal(rows: int, columns: int, std: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator, device=device) * std

    return {
        "C": normal(V, D, 1.0),
        "W1": normal(K * D, H, 1 / math.sqrt(K * D)),
        "b1": torch.zeros(H, device=device),
        "W2": normal(H, V, 0.01 / math.sqrt(H)),
        "b2": torch.zeros(V, device=device),
    }


def train_step(
    loss_fn: Callable[[dict[str, torch.Tensor]], torch.Tensor], params: dict[str, torch.Tensor], lr: float
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """New parameters after one step of gradient descent, ``p - lr * dloss/dp``, and the loss before it, a 0-dim tensor.

    ``loss_fn`` takes a dict like ``params`` and returns a scalar. Neither result is part of a graph; the tensors of
    ``params`` stay as they were, with no gradient left on them. A parameter that the loss does not use stays the same,
    and so do all for ``lr`` = 0. Raises ValueError for a negative ``lr`` and for a loss that is no scalar or depends on
    no parameter (one that reads the caller's tensors and not its argument, say).

    >>> params = {"w": torch.tensor([3.0, -1.0])}
    >>> train_step(lambda p: (p["w"] ** 2).sum(), params, lr=0.1)
    ({'w': tensor([ 2.4000, -0.8000])}, tensor(10.))
    """
    arguments.real("lr", lr, low=0)
    if not isinstance(params, dict) or not params:
        raise ValueError("params must be a dict of at least one tensor")
    for name, value in params.items():
        arguments.tensor(f"params[{name!r}]", value, "...", empty="...")
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        loss = loss_fn(leaves)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise ValueError("loss_fn must return a tensor that holds one number")
        if not loss.requires_grad:
            raise ValueError("loss_fn must return a loss that depends on the parameters it is given")
        loss = loss.reshape(())
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    with torch.no_grad():
        stepped = {
            name: leaf.detach().clone() if gradient is None else leaf.detach().sub(gradient, alpha=float(lr))
            for (name, leaf), gradient in zip(leaves.items(), gradients)
        }
    return stepped, loss.detach()


def mlp_backward(params: dict[str, torch.Tensor], X: torch.Tensor, Y: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of the mean cross-entropy of :func:`mlp_logits`, by hand: a dict with the shapes of ``params``.

    ``X (B, K), Y (B,)``. The chain rule from the logits down::

        dlogits = (softmax(logits) - one_hot(Y)) / B
        dW2 = h^T dlogits        db2 = sum over B        dh = dlogits W2^T
        da  = dh * (cdf(a) + a pdf(a))                   with a = x W1 + b1, h = a cdf(a), cdf and pdf of N(0, 1)
        dW1 = x^T da             db1 = sum over B        dx = da W1^T
        dC  = for each id the sum of the slices of dx that stand where X holds it

    Half precision is computed in float32; the gradients have the dtypes of the parameters. Raises ValueError as
    :func:`mlp_logits`, and for a target outside 0 .. V - 1. Follows Rumelhart, Hinton and Williams (1986).

    >>> params = {"C": torch.tensor([[0.0], [1.0]]), "W1": torch.tensor([[1.0]]), "b1": torch.tensor([0.0]),
    ...           "W2": torch.tensor([[1.0, -1.0]]), "b2": torch.tensor([0.0, 0.0])}
    >>> mlp_backward(params, torch.tensor([[0]]), torch.tensor([1]))["C"]  # dlogits = (.5, -.5), cdf(0) = .5
    tensor([[0.5000],
            [0.0000]])
    """
    sizes = _sizes(params, X)
    arguments.tensor("Y", Y, "B", "integer", sizes)
    Y = Y.long()
    arguments.ids("Y", Y, sizes["V"])
    with torch.no_grad():
        C, W1, b1, W2, b2 = (wide(params[name]) for name in NAMES)
        x = _rows(C, X, sizes["V"])
        a = x @ W1 + b1
        cdf = 0.5 * torch.erfc(-a / math.sqrt(2))
        h = a * cdf
        dlogits = (torch.softmax(h @ W2 + b2, dim=1) - F.one_hot(Y, sizes["V"]).to(C.dtype)) / sizes["B"]
        da = (dlogits @ W2.T) * (cdf + a * torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi))
        dx = (da @ W1.T).view(-1, sizes["D"])
        gradients = {
            "C": torch.zeros_like(C).index_add_(0, X.long().flatten(), dx),
            "W1": x.T @ da,
            "b1": da.sum(0),
            "W2": h.T @ dlogits,
            "b2": dlogits.sum(0),
        }
        return {name: gradient.to(params[name].dtype) for name, gradient in gradients.items()}


def _sizes(params: dict[str, torch.Tensor], X: torch.Tensor) -> dict[str, int]:
    """The sizes B, K, V, D, H; ValueError where parameters and contexts do not fit one another."""
    missing = [name for name in NAMES if name not in params] if isinstance(params, dict) else NAMES
    if missing:
        raise ValueError(f"params must be a dict of C, W1, b1, W2 and b2; it lacks {', '.join(missing)}")
    sizes = arguments.tensor("C", params["C"], "V D")
    sizes = arguments.tensor("X", X, "B K", "integer", sizes)
    W1 = arguments.tensor("W1", params["W1"], f"{sizes['K'] * sizes['D']} H")
    sizes["H"] = W1["H"]
    for name, shape in {"b1": "H", "W2": "H V", "b2": "V"}.items():
        arguments.tensor(name, params[name], shape, known=sizes)
    for name in NAMES[1:]:
        if params[name].dtype != params["C"].dtype:
            raise ValueError(f"{name} must have the dtype of C, {params['C'].dtype}, not {params[name].dtype}")
    return sizes


def _rows(C: torch.Tensor, X: torch.Tensor, V: int) -> torch.Tensor:
    X = X.long()  # not every operator takes uint16, in which long texts are kept
    arguments.ids("X", X, V)
    return F.embedding(X, C).flatten(1)
