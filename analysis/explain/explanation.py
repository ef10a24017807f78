"""Why does a model say so? Each word's score for each class, which add up to what the model says.

An architecture that scores words by itself (`word_scores`: the mean over a text's words is its logits) says so itself;
`cnn` scores positions that read several words, and divides each score among these.
Any other is explained by integrated gradients on the word vectors, from zero vectors to those of the text
(Sundararajan, Taly and Yan 2017): their sum is what the logits differ by, here given times the number of words, so that
the average and the baseline (the logits of zero vectors) add up to the logits in both cases.
What pairs of words add to the score at a word (`ngrams: 2`) goes in equal parts to this word and the one before it: of
word scores what they are more than without pairs, of integrated gradients the part of the pairs' vectors.

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

#: Integrated gradients are taken with twice the steps until the scores miss what they should add up to by less than
#: this share of it, or of 1. Smooth activations need the fewest steps; relu has kinks and may need the most.
TOLERANCE = 1e-3
FEWEST_STEPS, MOST_STEPS = 64, 256
STEPS_AT_ONCE = 256
TOP = 5  # classes that are explained, the most probable ones


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model says of a text, word by word."""

    text: str
    label: str | None  # what the text is, if that is known
    classes: tuple[str, ...]
    method: str
    words: list[str]
    unknown_T: np.ndarray  # whether the model does not know the word
    scores_TC: np.ndarray
    baseline_C: np.ndarray
    logits_C: np.ndarray
    probabilities_C: np.ndarray
    attention_TJ: np.ndarray | None  # how much each word looked at its neighbours, J = 2K + 1, itself in the middle
    task: Task

    @property
    def averages(self) -> np.ndarray:
        return self.scores_TC.mean(0)

    @property
    def missed(self) -> float:
        """How far average and baseline are from the logits at most: by rounding, or for want of steps."""
        return float(np.abs(self.averages + self.baseline_C - self.logits_C).max())

    @property
    def predicted(self) -> str:
        """The class, or all classes of a text that can have several; of these '' if it has none."""
        (predicted,) = self.task.says(torch.from_numpy(self.probabilities_C).unsqueeze(0), self.classes)["predicted"]
        return str(predicted)

    @property
    def is_right(self) -> bool | None:
        return None if self.label is None else self.task.parts(self.label) == self.task.parts(self.predicted)

    @property
    def favoured(self) -> str:
        """The class that `margins` speak for: of two the second, of more the most probable one."""
        both = len(self.classes) == 2 and self.task.exclusive
        return self.classes[1 if both else int(self.probabilities_C.argmax())]

    def margins(self, scores_NC: np.ndarray) -> np.ndarray:
        """How much each of these scores speaks for the favoured class, more than for the others on average; the score
        itself where a text can have several classes."""
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
        said = self.task.parts(self.predicted)
        shares = ", ".join(f"{name} ({share:.1%})" for name, share in named if name in said)
        verdict = f"predicted {shares or 'none of the classes'}"
        if self.label is None:
            return verdict
        return f"{verdict}, which is right" if self.is_right else f"{verdict}, but it is {self.label or 'none'}: wrong"

    def neighbours(self, word: int) -> list[tuple[str, float]]:
        """The words that a word looked at, itself included, and how much; most first."""
        if self.attention_TJ is None:
            return []
        window = self.attention_TJ.shape[1] // 2
        near = range(max(0, word - window), min(len(self.words), word + window + 1))
        weights = {place: float(self.attention_TJ[word, place - word + window]) for place in near}
        return [(self.words[place], weights[place]) for place in sorted(weights, key=weights.__getitem__, reverse=True)]


def explain(classifier: TextModel, text: str, label: str | None = None, top: int = TOP) -> Explanation:
    """What the model says of the text, and why. top: how many classes are explained (see `shown_classes`)."""
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
        method = "the model's own word scores"
        scores_TC, baseline_C = scores_TC[:, shown], torch.zeros(len(shown))
    else:
        method = "integrated gradients"
        words_1TE = model.embedding.words(tokens_1T)
        pairs_1TE = None if model.embedding.pairs is None else model.embedding.pairs(tokens_1T)
        scores_TC, baseline_C = integrated_gradients(model, words_1TE, lengths_1, shown, pairs_1TE)
    if model.embedding.pairs is not None:
        method += "; what a pair adds, half to each of its words"
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
    """The places of the most probable classes, at least two, and of those that the text has or is said to have."""
    most = probabilities_C.topk(min(max(top, 2), len(probabilities_C))).indices.tolist()
    (said,) = classifier.task.says(probabilities_C.unsqueeze(0), classifier.classes)["predicted"]
    named = classifier.task.parts(str(said)) | (classifier.task.parts(label) if label is not None else frozenset())
    return sorted({*most, *(place for place, name in enumerate(classifier.classes) if name in named)})


def _own(model: Architecture, method: str, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor | None:
    """What a method that only some architectures have says of the one text."""
    found: Callable[[Tensor, Tensor], Tensor] | None = getattr(model, method, None)
    return found(tokens_1T, lengths_1)[0] if found else None


def _without_pairs(model: Architecture, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor:
    """The word scores (T, C) of the one text where pairs have no vectors."""
    hook = model.embedding.register_forward_hook(lambda embedding, given, _: embedding.words(*given))
    try:
        scores_TC = _own(model, "word_scores", tokens_1T, lengths_1)
    finally:
        hook.remove()
    assert scores_TC is not None
    return scores_TC


def _to_words(scores_TC: Tensor) -> Tensor:
    """Those of pairs, each at its second word, in equal parts at both of its words."""
    halves_TC = scores_TC / 2
    halves_TC[0] = scores_TC[0]  # it has no word before it
    halves_TC[:-1] += scores_TC[1:] / 2
    return halves_TC


def integrated_gradients(
    model: Architecture,
    words_1TE: Tensor,
    lengths_1: Tensor,
    shown: Sequence[int],
    pairs_1TE: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scores (T, C) of the words of one text for the classes at these places, whose mean is what its logits differ
    by from those of zero vectors, the baseline (C).

    pairs_1TE: what is added to the words' vectors for the words before them."""
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
                tuple(each.requires_grad_() for each in read),
                zeros,
                target=target,
                additional_forward_args=(lengths_1,),
                n_steps=num_steps,
                internal_batch_size=STEPS_AT_ONCE,
            )
            for target in shown
        ]
        of_words_TC, *of_pairs_TC = (
            torch.stack([each[0].sum(1) for each in of_targets], 1).detach().float()
            for of_targets in zip(*attributions, strict=True)
        )
        parts_TC = sum(map(_to_words, of_pairs_TC), start=of_words_TC)
        missed = (parts_TC.sum(0) - difference_C).abs().max()
        if missed < TOLERANCE * difference_C.abs().max().clamp(min=1) or num_steps >= MOST_STEPS:
            return parts_TC * len(parts_TC), baseline_C
        num_steps *= 2
