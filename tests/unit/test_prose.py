"""The language of this repository: how docstrings open, words to avoid, names, and *you* in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PRIVATE = r"""(?x)\b(crew|hands?|lead|books|lanes?|outset|aftermath|pulse|paces|effort|heed|heeded|told|untold|staff
    |shelf|takes|takings|dealt|deal|redeal|floors?|rooms|beat|whoever|mend|mended|anew|doubts|fault)\b"""
NEVER = r"\b(told|tells?|telling|held\s+against|stands|stood|beside|anew|mend(ed|s)?|passed\s+over|whoever|nobody)\b"
RARELY = {
    "so late": r"\bso\s+(many|long|late|often|far)\b(?!\s+as)",
    "is no job": r"\b(is|are)\s+no\s+[a-z]+",
    "Raises OSError where": r"(\bRaises?\b|\bNone\b|[A-Z]\w*Error\b)[^.]{0,40}\bwhere\b",
    "comes to": r"\b(came|comes?)\s+to\b",
    "what was asked": r"\b(what|who|that)\s+(is|are|was|were)\s+\w+ed\b",
    "one row a job": r"\b(row|line|file|entry|point|bar)s?\s+an?\s+(job|request|worker|generator|process|run|flow)\b",
}
CLAUSE = r"(What|Who|Where|Whether|How|One that|Those|Which|Whose)\b"
VERB = (
    r"(?!(The|An?|Each|All|Every|No|None|Any|This|That|These|It|In|At|Of|On|By|For|From|To|With|Under|Over|Between|After"
    r"|Before|If|When|Until|As|So|Not|Only|Its|Their|And|Or|But|Some|One|Two|Job|Time|Number|Wh\w+|How|\w*[^s]s)\b)"
    r"[A-Z][a-z]+(?=[ ,.(:\n]|$)"
)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class Text(NamedTuple):
    file: str
    line: int
    words: str

    def at(self, offset: int = 0) -> str:
        line, around = self.line + self.words.count("\n", 0, offset), self.words[max(0, offset - 30) : offset + 50]
        return f"{self.file}:{line}: {' '.join(around.split())}"


def read(*globs: str) -> list[Text]:
    return [
        Text(str(path.relative_to(ROOT)), 1, path.read_text()) for glob in globs for path in sorted(ROOT.glob(glob))
    ]


def docstrings(source: Text, of: tuple[type, ...] = (ast.Module, ast.ClassDef, *FUNCTION)) -> Iterator[Text]:
    for owner in ast.walk(ast.parse(source.words)):
        for statement in owner.body if isinstance(owner, of) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield Text(source.file, statement.lineno, str(statement.value.value))


def without_code(page: Text) -> Text:
    return page._replace(words=re.sub(r"(?s)```.*?```", lambda code: "\n" * code[0].count("\n"), page.words))


def at_most(limit: float, found: list[str]) -> None:
    assert len(found) <= limit, "\n".join(found)


def places(pattern: str, texts: Iterable[Text]) -> list[str]:
    return [text.at(hit.start()) for text in texts for hit in re.finditer(pattern, text.words, re.IGNORECASE)]


def private_names(source: Text) -> list[str]:
    """Return each place that gives a private name to a module, function, class, argument, variable or attribute."""
    named = [(Path(source.file).stem, 1)]
    for node in ast.walk(ast.parse(source.words)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                named.append((name, node.lineno))
            case ast.stmt(name=str(name)) | ast.excepthandler(name=str(name)) | ast.pattern(name=str(name)):
                named.append((name, node.lineno))
    split = {name: " ".join(re.findall("[A-Z]?[a-z]+", name)).lower() for name, _ in named}
    return [f"{source.file}:{line}: {name}" for name, line in named if re.search(PRIVATE, split[name])]


def you_per_1000_words(pages: Iterable[Text]) -> float:
    words = " ".join(page.words for page in pages)
    return 1000 * len(re.findall(r"(?i)\byou(r|rs)?\b", words)) / max(1, len(words.split()))


PROGRAM = read("loadtest/**/*.py")
CODE = [*PROGRAM, *read("benchmarks/*.py", "examples/*.py", "tests/**/*.py")]
PAGES = [without_code(page) for page in read("README.md", "CONTRIBUTING.md", "docs/**/*.md")]
PROSE = [*(text for source in CODE for text in docstrings(source)), *PAGES]
OPENINGS = [text for source in PROGRAM for text in docstrings(source, FUNCTION)]


def test_function_docstrings_open_with_a_verb() -> None:
    at_most(0.01 * len(OPENINGS), [text.at() for text in OPENINGS if re.match(CLAUSE, text.words)])
    at_most(0.25 * len(OPENINGS), [text.at() for text in OPENINGS if not re.match(VERB, text.words)])


def test_docstrings_and_documents_use_plain_words() -> None:
    at_most(0, places(NEVER, PROSE))
    for pattern in RARELY.values():
        at_most(9, places(pattern, PROSE))


def test_names_use_the_terms_of_the_field() -> None:
    at_most(0, [place for source in CODE for place in private_names(source)])


def test_documents_speak_to_the_reader() -> None:
    assert you_per_1000_words(PAGES) >= 10, {page.file: you_per_1000_words([page]) for page in PAGES}


def test_bad_language_is_found_with_its_place() -> None:
    bad = Text("crew.py", 1, 'def untold(lead):\n    """What was\n    told of it."""\n    crews = self.hands = 1\n')
    assert places(NEVER, docstrings(bad)) == ["crew.py:3: What was told of it."]
    assert private_names(bad) == ["crew.py:1: crew", "crew.py:1: untold", "crew.py:1: lead", "crew.py:4: hands"]
    assert all(places(pattern, [Text("a.md", 1, example)]) for example, pattern in RARELY.items())
    openings = {"Return it.": True, "Pass on.": True, "What it is.": False, "Seconds left.": False, "A job.": False}
    assert {words: bool(re.match(VERB, words)) for words in openings} == openings
    assert [bool(re.match(CLAUSE, words)) for words in openings] == [False, False, True, False, False]
    assert you_per_1000_words([without_code(Text("a.md", 1, "One reads.\n```sh\nyou\n```\n"))]) == 0
