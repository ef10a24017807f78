"""Text to image: against a plain version, word by word; its attention; and that it learns to draw.

Shapes: B batch, T words, E embedding, L features of a latent, M heads, Q quadrants, Y rows, X columns.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data.corpora import captions
from models import WordVectors, num_parameters
from models.parts.layers import ACTIVATIONS
from models.text_to_image import TextToImage, join_quadrants

LENGTHS_B = torch.tensor([1, 13, 7, 2, 12])
TOKENS_BT = torch.randint(1, 20, (5, 13), generator=torch.Generator().manual_seed(2)) * (
    torch.arange(13) < LENGTHS_B.unsqueeze(1)
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine, two that share work as small as this wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(seed: int = 0, **hyperparameters: Any) -> TextToImage:
    torch.manual_seed(seed)
    vectors_VE = torch.randn(20, 5)
    vectors_VE[0] = 0
    return TextToImage(WordVectors(vectors_VE), 16, **{"hidden_size": 6, "heads": 2, **hyperparameters})


def plain(model: TextToImage, words_TE: Tensor) -> Tensor:
    """The image (Y, X) of one text, head by head and quadrant by quadrant."""
    states_TH = words_TE
    for layer in model.layers:
        states_TH = layer(states_TH.unsqueeze(1)).squeeze(1)
    if not model.heads:
        return model.decoder(states_TH[-1])
    keys_TL, values_TL = model.key(states_TH), model.value(states_TH)
    size = keys_TL.shape[1] // model.heads
    quadrants = []
    for latent_MD in model.latents_QMD:
        gathered = []
        for head, query_D in enumerate(latent_MD):
            own = slice(head * size, (head + 1) * size)
            weights_T = torch.softmax(keys_TL[:, own] @ query_D / math.sqrt(size), dim=0)
            gathered.append((weights_T.unsqueeze(1) * values_TL[:, own]).sum(0))
        quadrants.append(model.decoder(torch.cat(gathered)))
    top, bottom = torch.cat(quadrants[:2], dim=1), torch.cat(quadrants[2:], dim=1)
    return torch.cat((top, bottom), dim=0)


@pytest.mark.parametrize("heads", [0, 1, 2, 4])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_against_a_plain_version(activation: str, num_layers: int, heads: int) -> None:
    model = build(activation=activation, num_layers=num_layers, heads=heads).double()
    words_BTE = model.embedding(TOKENS_BT).requires_grad_()
    found_BYX = model.draw(words_BTE, LENGTHS_B)
    assert found_BYX.shape == (5, 16, 16)
    expected_BYX = torch.stack([plain(model, words_BTE[b, :length]) for b, length in enumerate(LENGTHS_B)])
    torch.testing.assert_close(found_BYX, expected_BYX, rtol=1e-11, atol=1e-12)
    wanted = (words_BTE, *model.parameters())
    gradients = zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (found_BYX, expected_BYX)), strict=True)
    for found, expected in gradients:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("heads", [0, 1, 4])
def test_padding_and_company_change_nothing(heads: int) -> None:
    model = build(heads=heads).eval()
    with torch.inference_mode():
        logits_BYX = model(TOKENS_BT, LENGTHS_B)
        others = (
            model(F.pad(TOKENS_BT, (0, 9)), LENGTHS_B),
            model(torch.where(TOKENS_BT == 0, 7, TOKENS_BT), LENGTHS_B),
            torch.cat([model(TOKENS_BT[b : b + 1, :length], length.view(1)) for b, length in enumerate(LENGTHS_B)]),
        )
    for other_BYX in others:
        torch.testing.assert_close(other_BYX, logits_BYX, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 3, 16])
def test_attention_is_paid_to_words_only(heads: int) -> None:
    model = build(heads=heads).eval()
    weights_BMQT = model.attention_weights(TOKENS_BT, LENGTHS_B)
    assert weights_BMQT.shape == (5, heads, 4, 13)
    torch.testing.assert_close(weights_BMQT.sum(3), torch.ones(5, heads, 4))
    paid_BT = (weights_BMQT > 0).all(1).all(1)
    assert torch.equal(paid_BT, TOKENS_BT != 0)
    assert (weights_BMQT[0, :, :, 0] == 1).all()  # a text of one word


def test_what_a_quadrant_attends_to_decides_what_is_in_it() -> None:
    """With all of a quadrant's attention on one word, it shows what a text that ends with that word would."""
    model = build(heads=1).eval()
    with torch.no_grad():
        model.latents_QMD[1] = 1e4 * model.latents_QMD[1]
        chosen = int(model.attention_weights(TOKENS_BT[1:2], LENGTHS_B[1:2])[0, 0, 1].argmax())
        states_TBH = model.layers[0](model.embedding(TOKENS_BT[1:2]).transpose(0, 1))
        expected_YX = model.decoder(model.value(states_TBH[chosen, 0]))
        torch.testing.assert_close(model(TOKENS_BT[1:2], LENGTHS_B[1:2])[0, :8, 8:], expected_YX)


def test_quadrants_are_joined_as_the_data_joins_them() -> None:
    quadrants_BQYX = torch.arange(2.0 * 4 * 3 * 3).view(2, 4, 3, 3)
    assert join_quadrants(quadrants_BQYX).tolist() == captions.join_quadrants(quadrants_BQYX.numpy()).tolist()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("heads", [0, 4])
def test_every_parameter_learns(heads: int, activation: str) -> None:
    torch.manual_seed(0)
    model = TextToImage(WordVectors.learned(20, 5), 16, num_layers=2, heads=heads, activation=activation)
    F.binary_cross_entropy_with_logits(model(TOKENS_BT, LENGTHS_B), torch.rand(5, 16, 16)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert num_parameters(model) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("hidden_size", [1, 5, 6]),
        ("num_layers", [1, 2, 4]),
        ("activation", [*ACTIVATIONS]),
        ("dropout", [0.0, 0.3, 0.9]),
        ("heads", [0, 1, 2, 4, 16]),
    ],
)
def test_every_hyperparameter_is_live(key: str, values: list[Any]) -> None:
    images = [build(**{key: value})(TOKENS_BT, LENGTHS_B) for value in values]
    assert all(image_BYX.shape == (5, 16, 16) and image_BYX.isfinite().all() for image_BYX in images)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(images, 2))
    assert set(TextToImage.hyperparameters) == {"hidden_size", "num_layers", "activation", "dropout", "heads"}


@pytest.mark.parametrize("heads", [0, 4])
def test_it_learns_to_draw_what_it_is_asked_for(heads: int) -> None:
    """24 captions by heart, as read by what knows only real digits."""
    texts = captions.Captions(num=24).read(Path(), progress=False)
    sentences = [caption for caption, _ in texts.examples]
    images_NYX, digits_NQ = texts.arrays("train", texts.examples).values()
    vocabulary = {word: number for number, word in enumerate(sorted({*" ".join(sentences).split()}), start=1)}
    tokens = [torch.tensor([vocabulary[word] for word in sentence.split()]) for sentence in sentences]
    lengths_N = torch.tensor([len(each) for each in tokens])
    tokens_NT = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    torch.manual_seed(0)
    model = TextToImage(WordVectors.learned(len(vocabulary) + 1, 16), 16, hidden_size=32, heads=heads)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        logits_NYX = model(tokens_NT, lengths_N)
        F.binary_cross_entropy_with_logits(logits_NYX, torch.from_numpy(images_NYX)).backward()
        optimizer.step()
    drawn_NYX = captions.split_quadrants(logits_NYX.detach().sigmoid().numpy()).reshape(-1, 8, 8)
    assert (captions.read_digits(drawn_NYX) == digits_NQ.ravel()).mean() > 0.9
