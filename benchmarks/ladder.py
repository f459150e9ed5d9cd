"""The ladder of models on `parcels`: how far each is from the truth, in all and by mechanism, with three seeds.

    python -m benchmarks ladder

Kneser-Ney tables of two, three and five tokens, a network that sees four tokens, and transformers of one and two layers
learn from the same 8,000 documents; KL(truth || model) is exact at every token of 1,000 others. Then counts and the
network once more with the same four tokens and 500 documents. Every seed has training documents and initial weights of
its own; all are judged on the same test documents. It takes about half an hour on one core, so it runs only when it is
named, and what it found is kept in ``benchmarks/results/ladder.json``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks import provenance
from reference_impl import parcels, sparse_ngrams, truth
from reference_impl.causal_vs_masked import gpt_logits
from reference_impl.gpt import Config, gpt_parameters
from reference_impl.neural_ngrams import build_dataset, initial_params, mlp_logits
from reference_impl.parcels import PARCELS
from reference_impl.training import IGNORE, batches, fit, pad

RESULTS = Path(__file__).resolve().parent / "results" / "ladder.json"
WORDS = PARCELS.vocabulary
V, BOS, EOS = WORDS.V, WORDS.bos, WORDS.eos
DISCOUNTS = (0.1, 0.25, 0.5, 0.75, 0.9)
Documents = Sequence[list[int]]
Rows = Callable[[Documents], np.ndarray]  # a model: its distributions (M, V) along documents, as truth.kl_of_rows asks


@dataclass(frozen=True)
class Counts:
    """A Kneser-Ney table of order n; the discount is the one with the lowest loss on the tuning documents."""

    name: str
    n: int


@dataclass(frozen=True)
class Mlp:
    """The network of the chapter on n-grams: K tokens of context, embeddings of D, H hidden units."""

    name: str
    K: int
    D: int = 32
    H: int = 256
    epochs: int = 8
    batch: int = 256  # contexts
    lr: float = 3e-3
    weight_decay: float = 0.1


@dataclass(frozen=True)
class Gpt:
    """GPT-2 with ``layers`` of width D."""

    name: str
    layers: int
    D: int = 64
    H: int = 4
    context: int = 128
    epochs: int = 20
    batch: int = 16  # documents
    lr: float = 3e-3
    weight_decay: float = 0.3


Model = Counts | Mlp | Gpt


@dataclass(frozen=True)
class Settings:
    """What one run of the ladder is."""

    seeds: tuple[int, ...] = (0, 1, 2)
    documents: int = 8000  # to learn from
    tuning: int = 200  # to choose a discount on
    test: int = 1000
    ladder: tuple = (Counts("2-gram", 2), Counts("3-gram", 3), Counts("5-gram", 5), Mlp("MLP", 4),
                     Gpt("1-layer GPT", 1), Gpt("2-layer GPT", 2))
    few: int = 500  # documents for the comparison at equal context
    equal_context: tuple = (Counts("5-gram", 5), Mlp("MLP", 4, batch=64, epochs=10))


def train_counts(model: Counts, documents: Documents, tuning: Documents, seed: int) -> tuple[Rows, dict]:
    """A table, and the discount it chose."""
    counted = sparse_ngrams.fit(documents, model.n, V, BOS, EOS)
    discount = min(DISCOUNTS, key=lambda one: counted.mean_nll(tuning, one))

    def rows(asked: Documents) -> np.ndarray:
        return counted.rows(build_dataset(asked, model.n - 1, BOS, EOS)[0], discount).numpy()

    return rows, {"discount": discount}


def train_mlp(model: Mlp, documents: Documents, tuning: Documents, seed: int) -> tuple[Rows, dict]:
    """A network, and the loss of its last training steps."""
    generator = torch.Generator().manual_seed(seed)
    X, Y = build_dataset(documents, model.K, BOS, EOS)
    start = initial_params(V, model.D, model.H, model.K, generator)

    def shuffled() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            order = torch.randperm(len(Y), generator=generator)
            for at in range(0, len(order) - model.batch + 1, model.batch):
                chosen = order[at:at + model.batch]
                yield X[chosen], Y[chosen]

    def loss(params: dict, X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(mlp_logits(params, X), Y)

    steps = model.epochs * (len(Y) // model.batch)
    params, losses = fit(start, loss, shuffled(), steps, lr=model.lr, weight_decay=model.weight_decay)

    def rows(asked: Documents) -> np.ndarray:
        X = build_dataset(asked, model.K, BOS, EOS)[0].to(params["C"].device)
        return mlp_logits(params, X).double().softmax(-1).cpu().numpy()

    return rows, {"training_loss": round(float(losses[-200:].mean()), 4)}


def train_gpt(model: Gpt, documents: Documents, tuning: Documents, seed: int) -> tuple[Rows, dict]:
    """A transformer, and the loss of its last training steps."""
    generator = torch.Generator().manual_seed(seed)
    config = Config(V=V, context=model.context, D=model.D, layers=model.layers, H=model.H)
    start = gpt_parameters(config, generator)
    # GPT-2's standard deviation of .02 belongs to a width of 768. Weights that small learn slowly at a width of 64.
    start = {name: p * (768 / model.D) ** 0.5 if p.ndim > 1 else p for name, p in start.items()}

    def loss(params: dict, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = gpt_logits(params, inputs, model.H)
        return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)

    steps = model.epochs * -(-len(documents) // model.batch)
    drawn = batches(documents, model.batch, generator, BOS, EOS)
    params, losses = fit(start, loss, drawn, steps, lr=model.lr, weight_decay=model.weight_decay)

    def rows(asked: Documents) -> np.ndarray:
        found = []
        for at in range(0, len(asked), 50):
            inputs, targets = pad(asked[at:at + 50], BOS, EOS, params["wte.weight"].device)
            with torch.no_grad():
                found.append(gpt_logits(params, inputs, model.H)[targets != IGNORE].double().softmax(-1).cpu().numpy())
        return np.concatenate(found)

    return rows, {"training_loss": round(float(losses[-200:].mean()), 4)}


TRAIN = {Counts: train_counts, Mlp: train_mlp, Gpt: train_gpt}


def measure(model: Model, documents: Documents, tuning: Documents, test: Documents, seed: int) -> dict:
    """Trains one model and gives its distance to the truth in nats per token, in all and by mechanism."""
    started = time.process_time()
    rows, found = TRAIN[type(model)](model, documents, tuning, seed)
    spent = time.process_time() - started
    distance = truth.kl_of_rows(rows(test), test)
    return {"seed": seed, "kl": round(distance.per_token, 5),
              "by_mechanism": {name: round(kl, 5) for name, kl in distance.by_mechanism.items()},
              **found, "cpu_seconds": round(spent, 1)}


def kept(journal: Path, key: str, work: Callable[[], dict]) -> dict:
    """What ``work`` gives, or gave when this key was last asked for: a run that is cut off goes on where it was."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return line["result"]
    result = work()
    print(f"  {key}: {result['kl']} nats, {result['cpu_seconds']} s", file=sys.stderr, flush=True)
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "result": result}) + "\n")
    return result


def climb(settings: Settings, journal: Path) -> dict:
    """All that is measured: for each model one entry a seed, on the ladder and at equal context."""
    test = parcels.sample(settings.test, seed=10**6)  # a seed that no training run has
    true = truth.conditionals(test)
    share = np.bincount(true.mechanisms, minlength=len(parcels.MECHANISMS)) / len(true.mechanisms)
    found = {"share_of_tokens": {name: round(float(x), 5) for name, x in zip(parcels.MECHANISMS, share)},
             "ladder": {model.name: [] for model in settings.ladder},
             "equal_context": {model.name: [] for model in settings.equal_context}}
    for seed in settings.seeds:
        drawn = parcels.sample(settings.documents + settings.tuning, seed)
        train, tuning = drawn[:settings.documents], drawn[settings.documents:]
        for what, documents in (("equal_context", train[:settings.few]), ("ladder", train)):
            for model in getattr(settings, what):
                of = f"{len(documents)} documents, {len(tuning)} for tuning, {len(test)} to judge"
                key = f"{model}, {of}, seed {seed}"
                work = partial(measure, model, documents, tuning, test, seed)
                found[what][model.name].append(kept(journal, key, work))
    return found


def means(runs: list[dict]) -> dict[str, float]:
    """The mean over the seeds: in all under "all", and by mechanism."""
    each = [{"all": run["kl"], **run["by_mechanism"]} for run in runs]
    return {name: sum(run[name] for run in each) / len(each) for name in each[0]}


def rows_of(found: dict) -> list[dict]:
    """A row for each step up: the model against the one before it, and where it gained most."""
    rows = []
    for what in ("ladder", "equal_context"):
        names = list(found[what])
        for before, after in pairwise(names):
            old, new = means(found[what][before]), means(found[what][after])
            gains = {m: found["share_of_tokens"][m] * (old[m] - new[m]) for m in parcels.MECHANISMS}
            most = max(gains, key=gains.get)
            where = f"most of it on {most}, {old[most]:.3f} to {new[most]:.3f}"
            rows.append({"what": f"{what.replace('_', ' ')}: KL to the truth, {after} (peer: {before}); {where}",
                         "ours": f"{new['all']:.4f} nats", "peer": f"{old['all']:.4f} nats",
                         "ratio": old["all"] / new["all"]})
    return rows


def _dense(found: dict) -> str:
    """JSON with a line for each model and run, not one for each number."""
    parts = []
    for name, value in found.items():
        text = json.dumps(value)
        if name in ("ladder", "equal_context"):
            models = [f'  {json.dumps(model)}: [\n   ' + ",\n   ".join(map(json.dumps, runs)) + "\n  ]"
                      for model, runs in value.items()]
            text = "{\n" + ",\n".join(models) + "\n }"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def run(settings: Settings | None = None, target: Path = RESULTS) -> list[dict]:
    """A row for each step of the ladder; everything that was measured is written to ``target``."""
    settings, journal = settings or Settings(), target.with_suffix(".part")
    target.parent.mkdir(exist_ok=True)
    found = climb(settings, journal)
    origin = {**provenance("python -m benchmarks ladder"), "threads": torch.get_num_threads()}
    target.write_text(_dense({**origin, "settings": asdict(settings), **found}), encoding="utf-8")
    journal.unlink(missing_ok=True)
    return rows_of(found)
