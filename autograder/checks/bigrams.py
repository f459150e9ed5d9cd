"""What is asked of the seven stubs of the bigrams chapter: the cases, their points, and the hint behind each."""

from __future__ import annotations

import numpy as np
import torch

from autograder import draws
from autograder.draws import Rng, Turned, ask
from autograder.exercise import Case, Exercise, Step
from reference_impl import bigrams as ref

# count_ngrams


def count_bigrams(rng: Rng) -> list[Step]:
    V = int(rng.integers(6, 9))
    bos, eos, words = draws.vocabulary(rng, V)
    return ask("count_ngrams", (draws.texts(rng, words[1:], [1, 2, 4, 6, 9]), 2, V, bos, eos))


def count_other_orders(rng: Rng) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 5)
    sequences = draws.texts(rng, words, [2, 4, 7])
    return ask("count_ngrams", *[(sequences, n, 5, bos, eos) for n in (1, 3, 4)])


def count_short(rng: Rng) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 6)
    return ask("count_ngrams", (draws.texts(rng, words, [0, 0, 1, 1, 2]), 4, 6, bos, eos), ([[]], 2, 6, bos, eos),
               ([], 3, 6, bos, eos))


# average_nll


def nll_ordinary(rng: Rng) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 7)
    table = 0.99 * draws.language(rng, 2, 7, bos, eos, 0.03) + 0.01 / 7  # no zeros: they have cases of their own
    return ask("average_nll", (table, draws.texts(rng, words, [1, 2, 5, 9]), bos, eos))


def nll_zeros(rng: Rng, unseen: bool = False) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 7)
    sequences = draws.texts(rng, words[1:], [2, 3, 6, 8])
    table = ref.normalize(ref.count_ngrams(sequences, 2, 7, bos, eos))
    return ask("average_nll", (table, [*sequences, [words[1], words[0]]] if unseen else sequences[1:], bos, eos))


def nll_orders(rng: Rng) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 5)
    sequences = draws.texts(rng, words, [0, 2, 7])
    tables = [draws.language(rng, 1, 5, bos, eos, 0.1), Turned(draws.language(rng, 3, 5, bos, eos, 0.1, torch.float64))]
    return ask("average_nll", *[(table, sequences, bos, eos) for table in tables])


def nll_long(rng: Rng) -> list[Step]:
    bos, eos, words = draws.vocabulary(rng, 8)
    return ask("average_nll", (draws.language(rng, 2, 8, bos, eos, 0.01), draws.texts(rng, words, [300]), bos, eos))


# sample_sequence


def ended_by_eos(rng: Rng, n: int, V: int) -> tuple:
    """Arguments whose right answer has at least six ids and stops at the end token with uniforms left over."""
    bos, eos, _ = draws.vocabulary(rng, V)
    table = draws.language(rng, n, V, bos, eos, 0.15)
    while True:
        given = draws.uniforms(rng, table, 16)
        if 6 <= len(ref.sample_sequence(table, given, 99, bos, eos)) <= 13:
            return table, given, 15, bos, eos


def sample_orders(rng: Rng) -> list[Step]:
    three, *rest = ended_by_eos(rng, 3, 5)
    return ask("sample_sequence", ended_by_eos(rng, 1, 5), (Turned(three), *rest))


def sample_stops(rng: Rng) -> list[Step]:
    eos = int(rng.integers(1, 5))  # neither the first nor the last id: those are what drawing from zeros may give
    bos, *words = [i for i in rng.permutation(6).tolist() if i != eos]
    endless = draws.language(rng, 2, 6, bos, eos, 0.0)
    dead_end = endless.clone()
    dead_end[words[0]] = 0
    last: list[int] = []
    while last[-1:] != words[:1]:
        given = draws.uniforms(rng, endless, 12)
        last = ref.sample_sequence(dead_end, given, 11, bos, eos)
    return ask("sample_sequence", (endless, given, int(rng.integers(3, 8)), bos, eos),
               (endless, given[:5], 20, bos, eos), (dead_end, given, 12, bos, eos), (endless, given, 0, bos, eos))


def sample_on_steps(rng: Rng) -> list[Step]:
    bos, eos, _ = draws.vocabulary(rng, 7)
    possible = np.array([i not in (0, bos) for i in range(7)]) / (6 - (bos != 0))
    eighths = np.stack([rng.multinomial(8, possible) for _ in range(7)])
    first, second = rng.choice(np.flatnonzero(possible), 2, replace=False)
    eighths[bos] = 0
    eighths[bos, [first, second]] = 3, 5
    table = torch.from_numpy(eighths / 8).to(torch.float32)
    step = float(table[bos].cumsum(0)[min(first, second)])
    rest = (rng.integers(0, 8, 8) / 8).tolist()
    return ask("sample_sequence", (table, [step, *rest], 9, bos, eos), (table, [0.0, *rest], 9, bos, eos))


def sample_past_the_last_step(rng: Rng) -> list[Step]:
    bos, eos, _ = draws.vocabulary(rng, 6)
    possible = np.array([i not in (5, bos) for i in range(6)]) / (5 - (bos != 5))
    parts = np.stack([rng.multinomial(2**20 - 1, possible) for _ in range(6)])  # exact in float32, in any order
    table = torch.from_numpy(parts / 2**20).to(torch.float32)
    return ask("sample_sequence", (table, [1 - 2**-24, *draws.uniforms(rng, table, 8)], 9, bos, eos))


# interpolate


def mix_orders(rng: Rng) -> list[Step]:
    tables = [draws.distributions(rng, 4, dtype=torch.float64), draws.distributions(rng, 4, 4, dtype=torch.float64),
              ref.normalize(draws.counts_table(rng, 4, 4, 4, empty=1).double())]
    tables[2] = Turned(tables[2])
    order = rng.choice([[2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 2, 0]]).tolist()
    return ask("interpolate", ([tables[i] for i in order], [5 * weight for weight in draws.weights(rng, 3)]))


def mix_nothing(rng: Rng) -> list[Step]:
    bigram, unigram = ref.normalize(draws.counts_table(rng, 5, 5, empty=2)), draws.distributions(rng, 5)
    other = draws.distributions(rng, 5, 5) * bigram.any(-1, keepdim=True)
    return ask("interpolate", ([bigram, other], draws.weights(rng, 2)), ([bigram, unigram], [1.0, 0.0]))


# kneser_ney


def counted(rng: Rng, n: int) -> tuple[torch.Tensor, list[list[int]], float, int, int, int]:
    """A raw table of order n, its sequences, a discount, bos, eos, and a word that was never seen."""
    bos, eos, words = draws.vocabulary(rng, 7)
    sequences = draws.texts(rng, words[1:], [2, 3, 3, 4, 5, 7])
    return ref.count_ngrams(sequences, n, 7, bos, eos), sequences, rng.uniform(0.3, 0.9), bos, eos, words[0]


def kn_seen(rng: Rng) -> list[Step]:
    counts, sequences, discount, bos, _, _ = counted(rng, 2)
    return ask("kneser_ney", (counts, [sequences[0][0]], discount, bos))


def kn_unseen(rng: Rng) -> list[Step]:
    counts, _, discount, bos, eos, never = counted(rng, 2)
    return ask("kneser_ney", (counts, [never], discount, bos), (counts, [eos], discount, bos))


def kn_empty(rng: Rng) -> list[Step]:
    two, _, discount, bos, _, _ = counted(rng, 2)
    one, _, _, other_bos, _, _ = counted(rng, 1)
    return ask("kneser_ney", (two, [], discount, bos), (one, [], discount, other_bos))


def kn_trigrams(rng: Rng) -> list[Step]:
    counts, sequences, discount, bos, _, never = counted(rng, 3)
    first, second = sequences[0][:2]
    return ask("kneser_ney", (counts, [first, second], discount, bos), (counts, [never, first], discount, bos),
               (Turned(counts.double()), [second], discount, bos))


def kn_begin(rng: Rng) -> list[Step]:
    three, sequences, discount, bos, eos, _ = counted(rng, 3)
    four = ref.count_ngrams(sequences, 4, 7, bos, eos)
    return ask("kneser_ney", (three, [bos], discount, bos), (four, [bos, sequences[0][0]], discount, bos))


# The exercises

COUNT_NGRAMS = (
    Case("bigrams", count_bigrams, points=2, ordinary=True, draws=2, hint=(
        "Pad each sequence on its own, n - 1 begin tokens in front and one end token behind, and slide a window of n "
        "ids over it. Every window adds 1, each time it occurs; counts[a, b] says how often b came AFTER a. Index with "
        "a TUPLE: counts[tuple(window)] += 1 is one entry, but with a list, counts[window] += 1 is n whole rows.")),
    Case("other orders", count_other_orders, points=1, hint=(
        "Nothing may know that n is 2: the table has n axes, and n - 1 begin tokens stand in front, which is none at "
        "all for n = 1 and three for n = 4.")),
    Case("short, empty and no sequences", count_short, points=1, hint=(
        "An empty sequence still ends: its end token comes right after n - 1 begin tokens, and that is one n-gram. "
        "Padding makes a special case for short sequences needless, and no sequences leave the table of zeros.")),
)
NORMALIZE = (
    Case("a square table", lambda rng: ask("normalize", (draws.counts_table(rng, 5, 5),)),
         points=1, ordinary=True, draws=2, hint=(
        "Sum along the last dim and KEEP that dim. counts.sum(-1) has lost an axis: on a square table it is lined up "
        "with the columns, and entry [i, j] is divided by the sum of row j without any complaint.")),
    Case("rows of zeros", lambda rng: ask("normalize", (draws.counts_table(rng, 5, 5, empty=2),)), points=1, hint=(
        "0 / 0 is NaN. A row that sums to 0 has to come back as zeros: choose what to divide by there.")),
    Case("fractional counts", lambda rng: ask("normalize", (draws.fractional(rng, 5, 5),)), points=0.5, hint=(
        "Counts need not be whole numbers: a row may well sum to less than 1 and is still divided by its own sum, in "
        "the dtype it came in.")),
    Case("tables of any order", lambda rng: ask("normalize", *[(table,) for table in draws.any_shape(rng)]),
         points=0.5, hint=(
        "A row is what runs along the LAST dim, and its length is the only V there is. The other dims may be none, "
        "one or two, of any size; floating counts keep their dtype.")),
)
AVERAGE_NLL = (
    Case("texts of unequal lengths", nll_ordinary, points=2, ordinary=True, draws=2, hint=(
        "Add -ln p over ALL predicted tokens, the end of every sequence among them and the first one after the begin "
        "token, then divide once by how many were predicted. A mean of means weighs short texts too much.")),
    Case("zeros that no text meets", nll_zeros, points=0.5, hint=(
        "ln 0 is -inf, and 0 * -inf is NaN: look up only the probabilities of the n-grams that occur, do not multiply "
        "a table of counts with a table of logarithms.")),
    Case("an unseen pair", lambda rng: nll_zeros(rng, unseen=True), points=1, hint=(
        "A text with an impossible token has probability 0, so its loss is inf: not a large number made by adding a "
        "tiny one inside the logarithm, not NaN, and the token may not be left out.")),
    Case("tables of other orders", nll_orders, points=0.5, hint=(
        "The order of the table is table.ndim: n - 1 begin tokens in front, then look up windows of n ids. One index "
        "for each axis: table[tuple(window)].")),
    Case("a long text", nll_long, points=0.5, hint=(
        "The product of hundreds of probabilities is smaller than the smallest float and becomes 0. Add logarithms; "
        "never multiply first.")),
    Case("no text at all", lambda rng: ask("average_nll", (draws.distributions(rng, 5, 5), [], 0, 1)),
         points=0.5, raises=True, hint="The mean over no token does not exist: raise ValueError for no sequence."),
)
SAMPLE_SEQUENCE = (
    Case("until the end token", lambda rng: ask("sample_sequence", ended_by_eos(rng, 2, 7)),
         points=2, ordinary=True, draws=3, hint=(
        "Start in the row of the begin token. For each draw take the next uniform, find the first id whose running "
        "sum exceeds it, and go to that id's row. Stop when it is the end token; neither special token is in the "
        "result, which is a list of ints.")),
    Case("the other ways to stop", sample_stops, points=1, hint=(
        "Three things stop the loop besides the end token: max_len ids were drawn (0 of them, maybe), the uniforms "
        "are used up, or the row of the context is all zero, so that there is nothing to draw.")),
    Case("on a step of the CDF", sample_on_steps, points=1, hint=(
        "The first id whose CDF EXCEEDS u, cdf > u and not cdf >= u: id i owns the uniforms from cdf[i - 1] up to, "
        "and without, cdf[i]. An id of probability 0 owns none, so it is never drawn, not even when u = 0.")),
    Case("past the last step", sample_past_the_last_step, points=0.5, hint=(
        "Rounded probabilities may add up to a hair less than 1, and u may lie beyond the last step. Then take the "
        "last id whose probability is above 0, which need not be the last id of the table.")),
    Case("tables of other orders", sample_orders, points=0.5, hint=(
        "The context is the last n - 1 ids with n = table.ndim, and n - 1 begin tokens at first. For n = 1 there is "
        "no context: mind that ids[-0:] is the whole list.")),
)
ADDITIVE = (
    Case("a fractional k", lambda rng: ask("additive", (draws.counts_table(rng, 5, 5, empty=1), rng.uniform(0.2, 2))),
         points=1, ordinary=True, draws=2, hint=(
        "Every one of the V entries of a row gets k more, the seen ones too, so the row's sum grows by k V. Sum along "
        "the last dim and keep that dim; an unseen row becomes uniform.")),
    Case("k = 0", lambda rng: ask("additive", (draws.counts_table(rng, 5, 5, empty=2), 0)), points=1, hint=(
        "With k = 0 nothing is smoothed: it is maximum likelihood, and a row of zeros stays zeros, not 0 / 0.")),
    Case("tables of any order", lambda rng: ask(
        "additive", *[(table, 0.3) for table in [draws.fractional(rng, 4, 4), *draws.any_shape(rng)]]),
         points=0.5, hint=(
        "V is the length of the LAST dim, whatever the others are; a floating table keeps its dtype, and the caller's "
        "table is not added to.")),
    Case("a negative k", lambda rng: ask("additive", (draws.counts_table(rng, 4, 4), -rng.uniform(0.1, 0.9))),
         points=0.5, raises=True, hint=(
        "Taking counts away can make a probability negative: raise ValueError for k < 0.")),
)
INTERPOLATE = (
    Case("a unigram and a bigram table", lambda rng: ask("interpolate", (
        [draws.distributions(rng, 5), draws.distributions(rng, 5, 5)], draws.weights(rng, 2))),
         points=2, ordinary=True, draws=2, hint=(
        "The sum of weight times table. A unigram table (V,) is used for every row of (V, V): it lines up with the "
        "LAST axis, which is what broadcasting does unless an axis is put in by hand.")),
    Case("unseen contexts", lambda rng: ask("interpolate", (
        [draws.distributions(rng, 5), ref.normalize(draws.counts_table(rng, 5, 5, empty=2))], draws.weights(rng, 2))),
         points=1, hint=(
        "Look at each row: a table whose row is all zero has nothing to say there, so its weight goes to the tables "
        "that have, in proportion, and the row sums to 1 again. A single zero in a row that has mass is an opinion.")),
    Case("three orders, listed in any order", mix_orders, points=0.5, hint=(
        "The result has the shape of the table with the most axes, wherever it stands in the list, and only the "
        "proportions of the weights matter: divide by the sum of those that take part.")),
    Case("nothing to go by", mix_nothing, points=0.5, hint=(
        "Where no table of positive weight has mass, the weights that take part add up to 0: leave zeros, not NaN.")),
)
KNESER_NEY = (
    Case("a seen context", kn_seen, points=2, ordinary=True, draws=3, hint=(
        "Take D off each raw count of the row, divide by the row's raw sum, and hand what was taken to the lower "
        "order: its weight gamma(h) is neither D nor D / c(h .) but D times the number of DIFFERENT ids after h, over "
        "c(h .). Does the result sum to 1? The lower order counts DIFFERENT ids before w, not how often w occurs, is "
        "discounted itself, and rests on the uniform distribution over V - 1 ids.")),
    Case("unseen contexts", kn_unseen, points=1, hint=(
        "Where nothing was seen after the context, there is nothing to divide by: return the distribution of the "
        "context without its oldest id, unchanged.")),
    Case("the empty context", kn_empty, points=1, hint=(
        "The empty context is the order 1. Below the top order what is counted is how many different ids came right "
        "before w, each once, however often; in a table of order 1 the empty context IS the top order and counts w "
        "itself.")),
    Case("trigrams", kn_trigrams, points=1, hint=(
        "Go up one order at a time: the uniform distribution, then contexts [], [b], [a, b]. Each mixes in the one "
        "before, one that was never seen adds nothing, and only the top order uses raw counts, even where [b] is all "
        "that was asked.")),
    Case("contexts that begin with the begin token", kn_begin, points=1, hint=(
        "Before a begin token stands nothing but padding, so counting what came before would give 1 for all: contexts "
        "whose FIRST id is the begin token keep raw counts at every order.")),
)
EXERCISES = (
    Exercise("count_ngrams", "bigrams", ref.count_ngrams, COUNT_NGRAMS),
    Exercise("normalize", "bigrams", ref.normalize, NORMALIZE),
    Exercise("average_nll", "bigrams", ref.average_nll, AVERAGE_NLL),
    Exercise("sample_sequence", "bigrams", ref.sample_sequence, SAMPLE_SEQUENCE),
    Exercise("additive", "bigrams", ref.additive, ADDITIVE),
    Exercise("interpolate", "bigrams", ref.interpolate, INTERPOLATE),
    Exercise("kneser_ney", "bigrams", ref.kneser_ney, KNESER_NEY),
)
