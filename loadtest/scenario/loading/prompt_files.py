"""Files of prompts: conversations in ShareGPT's form, and JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from loadtest.errors import ScenarioError
from loadtest.traffic.prompts import Prompt

_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant", "chatgpt", "bard", "bing")
_BYTE_ORDER_MARK = "\ufeff"


def read_prompts(path: Path, read_text: Callable[[Path], str]) -> list[Prompt]:
    """Return the prompts of a file, in order; conversations without a question and an answer are left out.

    Raises ScenarioError, with the line or the number of the entry, for any other text.
    """
    found = [prompt for place, value in _entries(path, read_text(path)) if (prompt := _prompt(place, value))]
    if not found:
        raise ScenarioError(f'{path}: holds no prompts; write one per line, like {{"prompt": "Hello"}}')
    return found


def _entries(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yield each entry with its place: those of one array, or the lines."""
    if text.lstrip().startswith("["):
        try:
            entries = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ScenarioError(f"{path}: not JSON: {error}; write an array, or one value per line") from None
        yield from ((f"{path}: entry {number}", value) for number, value in enumerate(entries, start=1))
        return
    for line, whole in enumerate(text.split("\n"), start=1):
        content = whole.removeprefix(_BYTE_ORDER_MARK)
        if content.strip():
            try:
                yield f"{path}:{line}", msgspec.json.decode(content)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ScenarioError(f"{path}:{line}: not JSON: {error}; write one value per line") from None


def _prompt(place: str, value: Any) -> Prompt | None:
    """Return the prompt of an entry; None for a conversation without a question and an answer."""
    if isinstance(value, str):
        return Prompt(value, None)
    if isinstance(value, dict):
        turns = value.get("conversations", value.get("conversation"))
        if isinstance(turns, list):
            return _first_question(turns)
        text, made = value.get("prompt", value.get("text")), value.get("output_tokens")
        if isinstance(text, str) and (made is None or (type(made) is int and made >= 1)):
            return Prompt(text, made)
    raise ScenarioError(
        f'{place}: is not a prompt; write text, or an object with "prompt" or "text", perhaps with a number of '
        f'"output_tokens", or with "conversations"'
    )


def _first_question(turns: list[Any]) -> Prompt | None:
    said = [
        (str(turn.get("from", turn.get("role"))).lower(), turn.get("value", turn.get("content")))
        for turn in turns
        if isinstance(turn, dict)
    ]
    for (asker, question), (answerer, answer) in pairwise(said):
        if asker in _ASKS and answerer in _ANSWERS and isinstance(question, str) and isinstance(answer, str):
            return Prompt(question, answer) if question.strip() and answer.strip() else None
    return None
