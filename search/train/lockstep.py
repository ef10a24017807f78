"""Steps of several trials executed as one: a stacked forward and backward pass for all whose models have one form.

Shapes: P trials, B batch, T words.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import Architecture
from models.native import masks
from models.parts.stacked import Stack, form, logits
from search.train.stepping import Answer, Step, Training


class Lockstep:
    """Executes steps together. A trial's numbers depend on no other trial but for the rounding of float32.

    What cannot be stacked is left to be executed alone: architectures that do not allow it (see
    `Architecture.stacks`), trained word vectors, and a step without another of its form and batch size.
    """

    def __init__(self) -> None:
        self._stacks: dict[int | None, Stack] = {}
        self._numbers: dict[Hashable, int] = {}  # of forms, which are long tuples
        self._forms: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()

    def execute(self, steps: Mapping[str, Step]) -> dict[str, Answer]:
        """The answers, by the name of the trial, to those steps that can be executed together."""
        groups: dict[Hashable, list[str]] = {}
        for name, step in steps.items():
            if (kind := self._kind(step)) is not None:
                groups.setdefault(kind, []).append(name)
        self._stack([steps[name] for names in groups.values() for name in names])
        answers: dict[str, Answer] = {}
        for names in groups.values():
            if len(names) == 1:
                continue
            try:
                together = self._together([steps[name] for name in names])
            except torch.AcceleratorError:
                raise
            except Exception as error:  # alone, each trial shows whether the mistake is its own
                warnings.warn(f"{len(names)} trials are trained one by one: {error}", stacklevel=2)
                for name in names:  # another attempt would fail likewise, such as for want of memory
                    self._forms[steps[name].model] = None
                continue
            answers |= zip(names, together, strict=True)
        return answers

    def _kind(self, step: Step) -> Hashable | None:
        """Equal for steps that can be executed together."""
        model = step.model
        if model not in self._forms:
            found = form(model)
            self._forms[model] = None if found is None else self._numbers.setdefault(found, len(self._numbers))
        if self._forms[model] is None or (step.training and step.training.seed is None):
            return None
        return self._forms[model], model.training, step.num_texts

    def _stack(self, steps: Sequence[Step]) -> None:
        """Have one stack for all models of a form in training, and none for forms without a step.

        A model in evaluation may have averages for weights: it is stacked when it is next in training.
        """
        training: dict[int | None, list[Architecture]] = {self._forms[step.model]: [] for step in steps}
        for step in steps:
            if step.training is not None:
                training[self._forms[step.model]].append(step.model)
        # A stack keeps its models alive.
        self._stacks = {each: stack for each, stack in self._stacks.items() if each in training}
        for each, models in training.items():
            stack = self._stacks.get(each)
            if models and (stack is None or not all(model in stack for model in models)):
                self._stacks[each] = Stack(models)

    def _together(self, steps: Sequence[Step]) -> list[Answer]:
        models = [step.model for step in steps]
        stack = self._stacks.get(self._forms[models[0]])
        if stack is None or not all(model in stack for model in models):
            stack = Stack(models, views=False)
        if steps[0].training is None:
            tokens, lengths = _evaluated(steps)
            weights = stack.weights(models) | stack.buffers(models, [], tokens.device)
            with torch.inference_mode():
                logits_PB = logits(models[0], weights, tokens, lengths)
            return [Answer(logits_B, None) for logits_B in logits_PB]
        training = [step.training for step in steps if step.training is not None]
        weights = {name: each.detach().requires_grad_() for name, each in stack.weights(models).items()}
        seeds = [each.seed for each in training if each.seed is not None]
        tokens_PBT, lengths_PB = _trained(steps, training)
        buffers = stack.buffers(models, seeds, tokens_PBT.device)
        logits_PB = logits(models[0], weights | buffers, tokens_PBT, lengths_PB)
        losses = _losses(logits_PB, training)
        gradients = torch.autograd.grad(torch.stack(losses).sum(), list(weights.values()), allow_unused=True)
        stack.set_gradients(models, gradients)
        return [Answer(*each) for each in zip(logits_PB.detach(), torch.stack(losses).detach(), strict=True)]


def _evaluated(steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
    """The texts (B, T) and their lengths where all trials read the same ones, else (P, B, T)."""
    first = steps[0]
    if all(step.examples.place == first.examples.place and step.texts_B == first.texts_B for step in steps):
        return first.examples.batch(first.texts_B)
    return _batches(steps)


def _trained(steps: Sequence[Step], training: Sequence[Training]) -> tuple[Tensor, Tensor]:
    """The texts (P, B, T), without the words that are dropped, and their lengths."""
    tokens_PBT, lengths_PB = _batches(steps)
    if any(each.word_dropout for each in training):
        rows = [masks.settings(each.seed or 0, 0, each.word_dropout) for each in training]
        settings_P2 = torch.tensor(rows).to(tokens_PBT.device, non_blocking=True)
        tokens_PBT *= torch.vmap(lambda settings_2: masks.kept(settings_2, tokens_PBT.shape[1:]))(settings_P2)
    return tokens_PBT, lengths_PB


def _batches(steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
    """The texts of all trials (P, B, T), T of the longest of all, and their lengths."""
    examples, chosen = steps[0].examples, [step.texts_B for step in steps if isinstance(step.texts_B, Tensor)]
    if len(chosen) == len(steps) and all(step.examples.place == examples.place for step in steps):
        tokens_NT, lengths_N = examples.batch(torch.cat(chosen))
        return tokens_NT.unflatten(0, (len(steps), -1)), lengths_N.view(len(steps), -1)
    batches = [step.examples.batch(step.texts_B) for step in steps]
    longest = max(tokens_BT.shape[1] for tokens_BT, _ in batches)
    tokens_PBT = torch.stack([F.pad(tokens_BT, (0, longest - tokens_BT.shape[1])) for tokens_BT, _ in batches])
    return tokens_PBT, torch.stack([lengths_B for _, lengths_B in batches])


def _losses(logits_PB: Tensor, training: Sequence[Training]) -> list[Tensor]:
    """Each trial's; at once for those that minimise the same."""
    losses: dict[int, Tensor] = {}
    same: dict[Any, list[int]] = {}
    for place, each in enumerate(training):
        task, smoothing, weights_C = each.loss
        same.setdefault((task.name, smoothing, None if weights_C is None else place), []).append(place)
    for places in same.values():
        loss = training[places[0]].loss
        targets = [torch.stack(each) for each in zip(*(training[i].targets_B for i in places), strict=True)]
        if loss.weights_C is not None:  # torch.vmap cannot, with label smoothing
            losses[places[0]] = loss(logits_PB[places[0]], training[places[0]].targets_B)
            continue
        chosen = logits_PB if len(places) == len(training) else logits_PB[places]
        found_P = torch.vmap(lambda logits_B, *targets_B, loss=loss: loss(logits_B, targets_B))(chosen, *targets)
        losses |= zip(places, found_P, strict=True)
    return [losses[place] for place in range(len(training))]
