"""What it costs to count 5-grams of characters in Shakespeare's plays and to score the tenth that was held out.

The peer is the same recursion as one would first write it: a Counter for each context in a dict, one look-up after the
other in plain Python. It gets a part of the text, so that it ends in time; on that part both must have the same loss.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, defaultdict

import torch

from reference_impl import corpus, sparse_ngrams

N, DISCOUNT = 5, 0.75
HELD_OUT = 10  # one part in so many, at the end of the text
SAMPLE = 400_000  # characters for the peer


class Counters:
    """Interpolated Kneser-Ney smoothing of order N with a dict of Counters for each length of context."""

    def __init__(self, ids: list[int], V: int, bos: int, eos: int):
        self.V, self.bos, self.eos = V, bos, eos
        raw = [defaultdict(Counter) for _ in range(N)]  # raw[m] counts after contexts of m ids
        padded = [bos] * (N - 1) + ids + [eos]
        for t in range(N - 1, len(padded)):
            for m in range(N):
                raw[m][tuple(padded[t - m : t])][padded[t]] += 1
        self.tables = raw[-1:]
        for m in range(N - 2, -1, -1):
            table = defaultdict(Counter)
            for context, row in raw[m + 1].items():
                for token in row:
                    table[context[1:]][token] += 1
            table.update({context: row for context, row in raw[m].items() if context[:1] == (bos,)})
            self.tables.insert(0, table)
        self.totals = [{context: sum(row.values()) for context, row in table.items()} for table in self.tables]

    def probability(self, context: tuple[int, ...], token: int) -> float:
        p = (token != self.bos) / (self.V - 1)
        for m in range(N):
            h = context[N - 1 - m :]
            row = self.tables[m].get(h)
            if row is None:
                break
            p = (max(row.get(token, 0) - DISCOUNT, 0) + DISCOUNT * len(row) * p) / self.totals[m][h]
        return p

    def mean_nll(self, ids: list[int]) -> float:
        padded = [self.bos] * (N - 1) + ids + [self.eos]
        places = range(N - 1, len(padded))
        return -sum(math.log(self.probability(tuple(padded[t - N + 1 : t]), padded[t])) for t in places) / len(places)


def run() -> list[dict]:
    """One row: microseconds for each character, counted or scored, of sorted keys and of dicts of Counters."""
    text = corpus.plays()
    vocabulary = corpus.Vocabulary.of([text], separator="")
    V, bos, eos = vocabulary.V, vocabulary.bos, vocabulary.eos
    ids = torch.tensor(vocabulary.encode(text))

    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    train, test = ids[: -(len(ids) // HELD_OUT)], ids[-(len(ids) // HELD_OUT) :]
    started = time.perf_counter()
    model = sparse_ngrams.fit(train, N, V, bos, eos)
    counted = time.perf_counter()
    loss = model.mean_nll(test, DISCOUNT)
    ended = time.perf_counter()

    train, test = ids[: SAMPLE - SAMPLE // HELD_OUT], ids[SAMPLE - SAMPLE // HELD_OUT : SAMPLE]
    same = sparse_ngrams.fit(train, N, V, bos, eos).mean_nll(test, DISCOUNT)
    torch.set_num_threads(threads)
    train, test = train.tolist(), test.tolist()
    begun = time.perf_counter()
    peer_loss = Counters(train, V, bos, eos).mean_nll(test)
    peer_seconds = time.perf_counter() - begun

    if not math.isclose(same, peer_loss, rel_tol=1e-9):
        raise SystemExit(f"bench: the losses on the sample differ: {same} and {peer_loss} nats per character")
    ours, peer = (ended - started) / len(ids), peer_seconds / SAMPLE
    return [{
        "what": f"Kneser-Ney, order {N}: count nine tenths of {len(ids):,} characters and score the rest, for each "
                f"(peer: dicts of Counters, {SAMPLE:,} characters)",
        "ours": f"{1e6 * ours:.2f} µs ({ended - started:.1f} s)", "peer": f"{1e6 * peer:.1f} µs", "ratio": peer / ours,
        "characters": len(ids), "seconds_to_count": counted - started, "seconds_to_score": ended - counted,
        "peer_characters": SAMPLE, "peer_seconds": peer_seconds,
        "nats_per_character": loss, "bits_per_character": loss / math.log(2),
        "grams": [len(order.grams) for order in model.orders],
    }]
