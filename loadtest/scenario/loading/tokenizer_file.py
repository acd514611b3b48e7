"""A tokenizer of a model, from its `tokenizer.json`: it counts tokens, and names words of one token each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import ScenarioError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_WORDS, MAX_WORDS = 100, 4096
_TRIED = 3 * MAX_WORDS
_SPACES = "\u0120\u2581 "
"""How tokenizers write the space at the beginning of a word: of byte pairs, of SentencePiece, and itself."""
_WORD = re.compile(r"[a-z]{3,12}")
_BEFORE = "a"


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer, and the words of which any number, joined by spaces, has as many tokens."""

    tokenizer: Tokenizer
    words: tuple[str, ...]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without those that a model adds around it."""
        return _counts(self.tokenizer, texts)


def read_tokenizer(path: Path) -> LoadedTokenizer:
    """Return the tokenizer of a file.

    Raises ScenarioError if the package `tokenizers` is missing, the file cannot be read as a tokenizer, or words are
    not tokens by it.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ScenarioError(
            f"{path}: a tokenizer needs the package tokenizers; install loadtest[tokenizers], or leave tokenizer "
            f"out, so that lengths are in words"
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # The package raises nothing more special.
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ScenarioError(f"{path}: is not a tokenizer.json: {why}; name the file of your model") from error
    words = _one_token_words(tokenizer)
    if len(words) < MIN_WORDS or _counts(tokenizer, [" ".join(words)]) != [len(words)]:
        raise ScenarioError(
            f"{path}: has too few words of one token, {len(words)}; leave tokenizer out, so that lengths are in words"
        )
    return LoadedTokenizer(tokenizer, words)


def _one_token_words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return words that are one token, first in a text as well as later, by the numbers of their tokens."""
    by_number = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda pair: pair[1])
    likely = (token.strip(_SPACES) for token, _ in by_number)
    tried = list(dict.fromkeys(word for word in likely if _WORD.fullmatch(word)))[:_TRIED]
    first, later = _counts(tokenizer, tried), _counts(tokenizer, [f"{_BEFORE} {word}" for word in tried])
    (alone,) = _counts(tokenizer, [_BEFORE])
    found = (word for word, one, both in zip(tried, first, later, strict=True) if one == 1 and both == alone + 1)
    return tuple(found)[:MAX_WORDS]


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    return [len(each) for each in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
