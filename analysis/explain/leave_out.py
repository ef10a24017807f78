"""The explainer of estimators: every word is left out in turn, and its score is the resulting loss of the logits.

Scores are multiplied by the number of words, so that their average and the baseline (the logits of an empty text) add
up to the logits if words act independently (of two redundant words, either can be left out without a loss).

Shapes: N variants of the text, T words of it, C classes.
"""

import numpy as np

from analysis.explain.explanation import TOP, Explanation, shown_classes
from search.serve.classifier import EstimatorModel, TextModel

MOST_WORDS = 1000  # the first words of a text, which are left out in turn; later words have no score


def explain(classifier: TextModel, text: str, label: str | None = None, top: int = TOP) -> Explanation:
    """Explain an estimator's prediction, with all variants of the text in one call."""
    assert isinstance(classifier, EstimatorModel)
    _, _, (words,) = classifier.encode([text])
    num = min(len(words), MOST_WORDS)
    variants = [words, [], *(words[:place] + words[place + 1 :] for place in range(num))]
    outputs_NC = classifier.of_read([" ".join(variant) for variant in variants])
    logits_NC = classifier.task.logits(outputs_NC).numpy()
    if classifier.task.exclusive:  # only differences between logits matter
        logits_NC -= logits_NC.mean(1, keepdims=True)
    probabilities_C = classifier.task.tempered(outputs_NC[:1], classifier.temperature)[0]
    shown = shown_classes(classifier, probabilities_C, label, top)
    logits_C, baseline_C, *without_TC = logits_NC[:, shown]
    scores_TC = np.zeros((len(words), len(logits_C)), np.float32)
    scores_TC[:num] = (logits_C - without_TC) * len(words)
    cut = f" (the first {num:,})" if num < len(words) else ""
    return Explanation(
        text=text,
        label=label,
        classes=tuple(classifier.classes[place] for place in shown),
        method=f"loss of the logits when the word is left out{cut}",
        words=words,
        unknown_T=np.zeros(len(words), bool),
        scores_TC=scores_TC,
        baseline_C=baseline_C,
        logits_C=logits_C,
        probabilities_C=probabilities_C[shown].numpy(),
        attention_TJ=None,
        task=classifier.task,
    )
