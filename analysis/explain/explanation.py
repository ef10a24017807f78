"""Explanations of predictions: a score for every word and class, whose average and baseline add up to the logits.

An architecture with `word_scores` provides the scores itself (the mean over a text's words is its logits); `cnn` scores
positions that read several words, and divides each score among these words.
Any other architecture is explained by integrated gradients on the word vectors, from zero vectors to those of the text
(Sundararajan, Taly and Yan 2017). Their sum is the difference of the logits; scores are the gradients times the number
of words, so that average and baseline (the logits of zero vectors) add up to the logits in both cases.
With pairs of words (`ngrams: 2`), the contribution of a pair is divided equally between its two words: for word scores,
the difference to the scores without pairs; for integrated gradients, the part of the pairs' vectors.

Shapes: T words of the text, E embedding, C classes, K window on either side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from data.encoded import UNKNOWN
from models import Architecture
from search.serve.classifier import TextModel
from search.train.tasks import Task

#: The number of steps of integrated gradients is doubled until the error of the sum of the scores is below this share
#: of the sum, or of 1 if that is larger. Smooth activations need few steps; relu, with its kinks, may need many.
TOLERANCE = 1e-3
FEWEST_STEPS, MOST_STEPS = 64, 256
STEPS_AT_ONCE = 256
TOP = 5  # number of classes to explain, the most probable ones


@dataclass(frozen=True, eq=False)
class Explanation:
    """A model's prediction for a text, explained word by word."""

    text: str
    label: str | None  # the true label, if known
    classes: tuple[str, ...]
    method: str
    words: list[str]
    unknown_T: np.ndarray  # whether the word is not in the vocabulary
    scores_TC: np.ndarray
    baseline_C: np.ndarray
    logits_C: np.ndarray
    probabilities_C: np.ndarray
    attention_TJ: np.ndarray | None  # attention of every word to its neighbours, J = 2K + 1, itself in the middle
    task: Task

    @property
    def averages(self) -> np.ndarray:
        return self.scores_TC.mean(0)

    @property
    def missed(self) -> float:
        """The largest error of average plus baseline against the logits, from rounding or too few steps."""
        return float(np.abs(self.averages + self.baseline_C - self.logits_C).max())

    @property
    def predicted(self) -> str:
        """The predicted class; with several classes per text, all predicted ones, '' for none."""
        (predicted,) = self.task.says(torch.from_numpy(self.probabilities_C).unsqueeze(0), self.classes)["predicted"]
        return str(predicted)

    @property
    def is_right(self) -> bool | None:
        return None if self.label is None else self.task.parts(self.label) == self.task.parts(self.predicted)

    @property
    def favoured(self) -> str:
        """The class of `margins`: of two the second, of more the most probable one."""
        both = len(self.classes) == 2 and self.task.exclusive
        return self.classes[1 if both else int(self.probabilities_C.argmax())]

    def margins(self, scores_NC: np.ndarray) -> np.ndarray:
        """The scores for the favoured class minus the mean of those for the others; with several classes per text, the
        scores themselves."""
        favoured = self.classes.index(self.favoured)
        if not self.task.exclusive:
            return scores_NC[:, favoured]
        others_N = np.delete(scores_NC, favoured, axis=1).mean(1)
        margins_N: np.ndarray = scores_NC[:, favoured] - others_N
        return margins_N

    @property
    def verdict(self) -> str:
        """'predicted negative (97.3 %), which is right'."""
        named = zip(self.classes, self.probabilities_C, strict=True)
        answer = self.task.parts(self.predicted)
        shares = ", ".join(f"{name} ({share:.1%})" for name, share in named if name in answer)
        verdict = f"predicted {shares or 'none of the classes'}"
        if self.label is None:
            return verdict
        return f"{verdict}, which is right" if self.is_right else f"{verdict}, but it is {self.label or 'none'}: wrong"

    def neighbours(self, word: int) -> list[tuple[str, float]]:
        """The words that a word attended to, itself included, with their weights; the largest first."""
        if self.attention_TJ is None:
            return []
        window = self.attention_TJ.shape[1] // 2
        near = range(max(0, word - window), min(len(self.words), word + window + 1))
        weights = {place: float(self.attention_TJ[word, place - word + window]) for place in near}
        return [(self.words[place], weights[place]) for place in sorted(weights, key=weights.__getitem__, reverse=True)]


def explain(classifier: TextModel, text: str, label: str | None = None, top: int = TOP) -> Explanation:
    """Explain a prediction. top: number of classes to explain (see `shown_classes`)."""
    model = classifier.model
    tokens_1T, lengths_1, (words,) = classifier.encode([text])
    with torch.no_grad():
        logits_C = model(tokens_1T, lengths_1)[0]
        attention_TJ = _own(model, "attention_weights", tokens_1T, lengths_1)
        scores_TC = _own(model, "word_scores", tokens_1T, lengths_1)
        if scores_TC is not None and model.embedding.pairs is not None:
            without_TC = _without_pairs(model, tokens_1T, lengths_1)
            scores_TC = without_TC + _to_words(scores_TC - without_TC)
    probabilities_C = classifier.task.outputs(logits_C.unsqueeze(0) / classifier.temperature)[0]
    shown = shown_classes(classifier, probabilities_C, label, top)
    if scores_TC is not None:
        method = "the word scores of the model"
        scores_TC, baseline_C = scores_TC[:, shown], torch.zeros(len(shown))
    else:
        method = "integrated gradients"
        words_1TE = model.embedding.words(tokens_1T)
        pairs_1TE = None if model.embedding.pairs is None else model.embedding.pairs(tokens_1T)
        scores_TC, baseline_C = integrated_gradients(model, words_1TE, lengths_1, shown, pairs_1TE)
    if model.embedding.pairs is not None:
        method += "; a pair's contribution is divided between its two words"
    return Explanation(
        text=text,
        label=label,
        classes=tuple(classifier.classes[place] for place in shown),
        method=method,
        words=words,
        unknown_T=tokens_1T[0].numpy() == UNKNOWN,
        scores_TC=scores_TC.numpy(),
        baseline_C=baseline_C.numpy(),
        logits_C=logits_C[shown].numpy(),
        probabilities_C=probabilities_C[shown].numpy(),
        attention_TJ=None if attention_TJ is None else attention_TJ.numpy(),
        task=classifier.task,
    )


def shown_classes(classifier: TextModel, probabilities_C: Tensor, label: str | None, top: int) -> list[int]:
    """The places of the most probable classes (at least two), and of the true and predicted ones."""
    most = probabilities_C.topk(min(max(top, 2), len(probabilities_C))).indices.tolist()
    (answer,) = classifier.task.says(probabilities_C.unsqueeze(0), classifier.classes)["predicted"]
    named = classifier.task.parts(str(answer)) | (classifier.task.parts(label) if label is not None else frozenset())
    return sorted({*most, *(place for place, name in enumerate(classifier.classes) if name in named)})


def _own(model: Architecture, method: str, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor | None:
    """The result for the single text of a method that only some architectures have; None for the others."""
    found: Callable[[Tensor, Tensor], Tensor] | None = getattr(model, method, None)
    return found(tokens_1T, lengths_1)[0] if found else None


def _without_pairs(model: Architecture, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor:
    """The word scores (T, C) of the single text without the vectors of pairs."""
    hook = model.embedding.register_forward_hook(lambda embedding, given, _: embedding.words(*given))
    try:
        scores_TC = _own(model, "word_scores", tokens_1T, lengths_1)
    finally:
        hook.remove()
    assert scores_TC is not None
    return scores_TC


def _to_words(scores_TC: Tensor) -> Tensor:
    """Scores of pairs, given at their second words, divided equally between both words."""
    halves_TC = scores_TC / 2
    halves_TC[0] = scores_TC[0]  # the first word has none before it
    halves_TC[:-1] += scores_TC[1:] / 2
    return halves_TC


def integrated_gradients(
    model: Architecture,
    words_1TE: Tensor,
    lengths_1: Tensor,
    shown: Sequence[int],
    pairs_1TE: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scores (T, C) of the words of one text for the classes `shown`, and the baseline (C): the logits of zero
    vectors. The mean of the scores is the logits minus the baseline.

    pairs_1TE: vectors of pairs, which are added to the words' vectors.
    """
    read = (words_1TE,) if pairs_1TE is None else (words_1TE, pairs_1TE)
    zeros = tuple(map(torch.zeros_like, read))

    def classify(*given: Tensor) -> Tensor:
        *read, lengths_B = given
        return model.classify(sum(read[1:], start=read[0]), lengths_B)

    with torch.no_grad():
        baseline_C = classify(*zeros, lengths_1)[0][shown]
        difference_C = classify(*read, lengths_1)[0][shown] - baseline_C
    method = IntegratedGradients(classify)
    num_steps = FEWEST_STEPS
    while True:
        attributions = [
            method.attribute(
                tuple(vectors_1TE.requires_grad_() for vectors_1TE in read),
                zeros,
                target=target,
                additional_forward_args=(lengths_1,),
                n_steps=num_steps,
                internal_batch_size=STEPS_AT_ONCE,
            )
            for target in shown
        ]
        of_words_TC, *of_pairs_TC = (
            torch.stack([of_target_1TE[0].sum(1) for of_target_1TE in of_targets], 1).detach().float()
            for of_targets in zip(*attributions, strict=True)
        )
        parts_TC = sum(map(_to_words, of_pairs_TC), start=of_words_TC)
        missed = (parts_TC.sum(0) - difference_C).abs().max()
        if missed < TOLERANCE * difference_C.abs().max().clamp(min=1) or num_steps >= MOST_STEPS:
            return parts_TC * len(parts_TC), baseline_C
        num_steps *= 2
