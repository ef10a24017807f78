"""The bag of words and n-grams, without a hidden layer.

Shapes: B batch, N texts, T words of the longest text, V vocabulary, S n-grams of all orders of a text (its words
first), R rows of the table, F those that any training text has, K buckets, H hidden, C classes, D dimensions that start
at log ratios.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.native.bag import mean_of_rows
from models.native.hashing import hashes, words
from models.native.padding import real_words
from models.parts.hyperparameters import Choice, Domain, Input, Integer, Real
from models.parts.layers import Architecture, WordVectors, linear

Texts = Iterable[tuple[Tensor, ...]]  # as `Architecture.start_from` takes them

NAIVE_BAYES = "naive_bayes"
DROP = "drop"
SLOTS = 8  # per bucket, one bit each: they tell apart n-grams that share its row
SMOOTHING = 1.0  # added to the number of texts of each class that contain an n-gram
MOST_COUNTED = 2**28  # maximum number of counts, one per row and class; 2**28 take several gigabytes
SCALE = 10.0  # of the output weights when starting from naive Bayes


class Ngram(Architecture):
    """The mean of the vectors of a text's words and n-grams, then a linear layer (Joulin et al. 2016).

    Each word has a row in the table of vectors; n-grams of two and three words are hashed to `buckets` shared rows. All
    rows are learned: the word vectors of the corpus are not used. N-grams with a dropped word (id 0) are ignored; the
    mean of a text without n-grams is zero. With singletons drop, n-grams that occur in fewer than two training texts
    are ignored too: nothing can be learned about them, and they would share rows with others. They are identified by a
    bit table with SLOTS times as many entries as buckets.

    - n: the longest n-grams, in words, 1 to 3
    - buckets: rows that n-grams of two and more words share, 1 to 2**24
    - hidden_size: dimensions of a row, 1 to 2048
    - dropout: share of a text's words and n-grams left out of the mean in training, 0 to 0.9
    - start: how training starts, random or naive_bayes (see `start_from`)
    - singletons: how to treat n-grams of two or more words that occur in one training text only, drop or keep
    """

    inputs: ClassVar[Mapping[str, Input]] = {}  # word vectors are not used, only learned vectors of n-grams
    hyperparameters: ClassVar[dict[str, Domain]] = {
        "n": Integer(1, 3),
        "buckets": Integer(1, 2**24),
        "hidden_size": Integer(1, 2048),
        "dropout": Real(0.0, 0.9),
        "start": Choice(("random", NAIVE_BAYES)),
        "singletons": Choice((DROP, "keep")),
    }

    def __init__(
        self,
        embedding: WordVectors,
        num_classes: int,
        *,
        n: int = 2,
        buckets: int = 2**20,
        hidden_size: int = 2,
        dropout: float = 0.5,
        start: str = NAIVE_BAYES,
        singletons: str = DROP,
    ) -> None:
        num_words = len(embedding.vectors_VE)
        super().__init__(WordVectors(torch.zeros(num_words, 0)))  # holds only the number of words
        self.n, self.num_words, self.buckets, self.dropout, self.start = n, num_words, buckets, dropout, start
        self.singletons = singletons
        self.known_K: Tensor
        self.register_buffer("known_K", torch.full((buckets,), 2**SLOTS - 1, dtype=torch.uint8))
        self.bag = Bag(num_words + buckets, hidden_size)
        self.output = linear(hidden_size, num_classes)

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        rows_BS = self.rows(tokens_BT, lengths_B)
        if self.training and self.dropout:
            rows_BS = rows_BS * (torch.rand(rows_BS.shape, device=rows_BS.device) >= self.dropout)
        logits_BC: Tensor = self.output(self.bag(rows_BS))
        return logits_BC

    def rows(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The rows of the words, of the pairs that end in the second word and later ones, and of the triples, (B, S);
        0 where there is none."""
        words_BT = words(tokens_BT, lengths_B)
        slots_BS = self._slots(tokens_BT, lengths_B)
        buckets_BS = slots_BS // SLOTS
        known_BS = (slots_BS >= 0) & ((self.known_K[buckets_BS] >> slots_BS % SLOTS) & 1).bool()
        return torch.cat([words_BT, (buckets_BS + self.num_words) * known_BS], 1)

    def _slots(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The slots of the pairs and triples, from 0 to SLOTS * buckets - 1; -1 where a word is missing."""
        words_BT = words(tokens_BT, lengths_B)
        return torch.cat([words_BT[:, :0], *hashes(words_BT, self.n, SLOTS * self.buckets)], 1)

    def word_scores(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The class scores (B, T, C) of each word, zero at padding. Their sum over a text, divided by its length, is
        the text's logits: what an n-gram adds to them goes to its words in equal parts, the bias to all words."""
        rows_BS = self.rows(tokens_BT, lengths_B)
        num_ngrams_B11 = (rows_BS != 0).sum(1).clamp(min=1).view(-1, 1, 1)
        scores_BSC = F.linear(F.embedding(rows_BS, self.bag.rows_RH), self.output.weight) / num_ngrams_B11
        num_words = tokens_BT.shape[1]
        shares_BTC = scores_BSC.new_zeros(len(rows_BS), num_words, scores_BSC.shape[2])
        of_orders = scores_BSC.split([num_words - order for order in range(min(self.n, num_words))], dim=1)
        for order, scores_BPC in enumerate(of_orders, start=1):
            for place in range(order):
                shares_BTC[:, place : place + scores_BPC.shape[1]] += scores_BPC / order
        scores_BTC = shares_BTC * lengths_B.view(-1, 1, 1) + self.output.bias
        return scores_BTC * real_words(lengths_B, num_words).unsqueeze(2)

    @torch.no_grad()
    def start_from(self, texts: Texts) -> None:
        """Learn which n-grams are in more than one text, unless singletons are kept.

        With start naive_bayes, begin as a naive Bayes classifier of these texts (Wang and Manning 2012).

        Naive Bayes sums log P(row | class) over a text's rows. Their mean over the classes is subtracted, which changes
        no prediction and leaves a matrix (R, C) of rank C - 1. It is factorised into min(hidden_size, C - 1) dimensions
        of the rows and the output weights of these: for two classes a single dimension, half the log ratio; if
        hidden_size is smaller than C - 1, the best approximation of that rank. Other dimensions start at random, with
        output weights of zero.

        If a text can have several classes, the matrix holds the log ratios of the texts with and without each class,
        and its rank is C.

        With more than MOST_COUNTED pairs of a class and a row, training starts at random.

        P is estimated from the number of a class's texts that contain a row, and normalised over the rows that occur in
        any text: there are so many others that, smoothed, small and large classes would have nearly the same sum. The
        network averages where naive Bayes sums; the output weights therefore start at SCALE, a compromise.
        """
        if self.singletons == DROP:
            num_texts = _count(self._slots, SLOTS * self.buckets, _of_one_class(texts), 1, self.known_K.device)
            often_KL = (num_texts > 1).view(-1, SLOTS)
            self.known_K.copy_((often_KL << torch.arange(SLOTS, device=often_KL.device)).sum(1))
        num_classes = self.output.out_features
        if self.start != NAIVE_BAYES or num_classes * len(self.bag.rows_RH) > MOST_COUNTED:
            return
        targets_N = torch.cat([targets_B for _, _, targets_B in texts])
        several = targets_N.ndim == 2
        num_rows = len(self.bag.rows_RH)
        counts_CR = _count(self.rows, num_rows, _by_class(texts), num_classes, self.known_K.device)
        counts_1R = counts_CR.sum(0, keepdim=True)
        if several:
            counts_1R = _count(self.rows, num_rows, _of_one_class(texts), 1, self.known_K.device)
        counts_1R[:, 0] = 0
        rows_F = counts_1R[0].nonzero()[:, 0]
        counts_CF = counts_CR[:, rows_F]
        num_texts_C = targets_N.sum(0).long() if several else torch.bincount(targets_N, minlength=num_classes)
        if self.class_weights_C is not None:  # weights change the class frequencies, not the words of a class
            num_texts_C = num_texts_C * self.class_weights_C
        log_CF = _log_shares(counts_CF)
        prior_C = (num_texts_C + SMOOTHING).log()
        if several:
            log_CF -= _log_shares(counts_1R[:, rows_F] - counts_CF)
            prior_C -= (len(targets_N) - num_texts_C + SMOOTHING).log()
        else:
            log_CF -= log_CF.mean(0)
            prior_C -= prior_C.mean()
        num_started = min(num_classes - (not several), self.output.in_features)
        directions_CD = torch.linalg.eigh(log_CF @ log_CF.t())[1].flip(1)[:, :num_started]
        directions_CD *= directions_CD.gather(0, directions_CD.abs().argmax(0, keepdim=True)).sign()
        self.bag.rows_RH[:, :num_started] = 0
        self.bag.rows_RH[rows_F, :num_started] = log_CF.t() @ directions_CD
        self.output.weight.zero_()
        self.output.weight[:, :num_started] = SCALE * directions_CD
        self.output.bias.copy_(prior_C)


def _log_shares(counts_CF: Tensor) -> Tensor:
    """Log P(row | class), from the number of a class's texts that contain each row. Rows that occur in no text must be
    left out: there are so many that, smoothed, small and large classes would have nearly the same sum."""
    log_CF = (counts_CF + SMOOTHING).log_()
    return log_CF.sub_(log_CF.logsumexp(1, keepdim=True))


def _by_class(texts: Texts) -> Texts:
    """The texts with one class each; a text with several classes is repeated for each."""
    for tokens_BT, lengths_B, targets_B in texts:
        texts_L, labels_L = targets_B.nonzero().t() if targets_B.ndim == 2 else (slice(None), targets_B)
        yield tokens_BT[texts_L], lengths_B[texts_L], labels_L


def _of_one_class(texts: Texts) -> Texts:
    return ((tokens_BT, lengths_B, torch.zeros_like(lengths_B)) for tokens_BT, lengths_B, *_ in texts)


def _count(
    keys: Callable[[Tensor, Tensor], Tensor],
    num_keys: int,
    texts: Texts,
    num_classes: int,
    device: torch.device,
) -> Tensor:
    """The number of texts of each class that contain each key, (num_classes, num_keys); negative keys are ignored."""
    counts = torch.zeros(num_classes * num_keys, device=device)
    for tokens_BT, lengths_B, labels_B in texts:
        keys_BS = keys(tokens_BT, lengths_B).sort(1).values
        first_BS = keys_BS.diff(dim=1, prepend=keys_BS.new_full((len(keys_BS), 1), -1)) > 0
        places = (labels_B.unsqueeze(1) * num_keys + keys_BS)[first_BS]
        counts.index_add_(0, places, counts.new_ones(len(places)))
    return counts.view(num_classes, num_keys)


class Bag(nn.Module):
    """A table of learned rows (R, H); a text is the mean of its rows. Row 0 stands for no n-gram and is not counted.

    Initialised as in fastText. Gradients are sparse: only rows of the batch have one.
    """

    def __init__(self, num_rows: int, size: int) -> None:
        super().__init__()
        self.rows_RH = nn.Parameter(torch.empty(num_rows, size).uniform_(-1 / size, 1 / size))
        self.rows_RH.data[0] = 0

    def forward(self, rows_BS: Tensor) -> Tensor:
        return mean_of_rows(self.rows_RH, rows_BS)
