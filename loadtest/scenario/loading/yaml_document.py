"""YAML documents: plain values, and the line of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from loadtest.errors import ScenarioError
from loadtest.protocol.json_values import WrittenNumber, is_json_number, written_number
from loadtest.units import quoted

Path = tuple[str | int, ...]
"""The path of a value: keys of mappings and indices of lists, from the outside in."""


class _Constructor(SafeConstructor):
    """A constructor of plain values whose numbers are encoded to JSON as they are written, if they are JSON."""

    def written_float(self, node: ScalarNode) -> float:
        """Return the number of a node."""
        text = str(node.value)
        number: float = written_number(text) if is_json_number(text) else self.construct_yaml_float(node)
        return number


_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.written_float)


@dataclass(frozen=True)
class Document:
    """A YAML document: its plain values, and its nodes, which know their lines."""

    data: Any
    node: Node

    def find(self, path: Path) -> tuple[int, bool]:
        """Return the line (from 1) at a path, or of the nearest key around it, and whether the path exists."""
        at, line = self.node, int(self.node.start_mark.line)
        for part in path:
            found = _child(at, part)
            if found is None:
                return line + 1, False
            at, line = found
        return line + 1, True


def parse_yaml(text: str, name: str) -> Document:
    """Return a YAML 1.2 document that holds only values that JSON can hold.

    ScenarioError names `name`, the line and the error: bad syntax, a key given twice, a foreign tag or value.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.composer.warn_double_anchors = False  # YAML 1.2 allows them, and a warning would be lines of its own
    try:
        node = yaml.compose(text)
        if node is None:
            raise ScenarioError(f"{name}: the file is empty; docs/reference/scenario.md lists its keys")
        for line, error in _unsupported_nodes(yaml, node, set(), ()):
            raise ScenarioError(f"{name}:{line}: {error}")
        return Document(yaml.constructor.construct_document(node), node)
    except RecursionError:
        raise ScenarioError(f"{name}: nested too deeply to be read") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = ["", *text.split("\n"), ""][mark.line : mark.line + 2]
        raise ScenarioError(f"{name}:{mark.line + 1}: {_message(error, *lines)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(
            f"{name}:{line}: not YAML: it holds the control character U+{error.character:04X}; delete it, or "
            f'write it in double quotes as "\\u{error.character:04x}"'
        ) from None
    except YAMLError as error:
        raise ScenarioError(f"{name}: {' '.join(str(error).split())}") from None


def _message(error: MarkedYAMLError, before: str, line: str) -> str:
    """Return what is wrong in a line, or began in the one before, and what to write instead if that is known."""
    problem = " ".join(str(error.problem).split())
    if problem.startswith("found duplicate key"):
        key = problem.split('"')[1]
        return f'"{key}" is given twice; keep one of them'
    if "found another document" in problem:
        return 'a second document begins with "---"; keep one in each file'
    if "\u00a0" in before + line:
        return "not YAML: a no-break space is not white space there; write a plain one"
    if line.lstrip(" ").startswith("\t"):
        return "not YAML: a tab at the beginning of a line; indent with spaces"
    if "mapping values are not allowed" in problem:
        if line.count(":") > 1:
            return "not YAML: a second colon on one line; put the value in quotes"
        return "not YAML: a key is indented under a value; align it with the one above, with a space after colons"
    if "cannot start any token" in problem:
        return f"not YAML: {problem.removeprefix('found ')}; put the value in quotes"
    return f"not YAML: {problem}"


def _child(node: Node, part: str | int) -> tuple[Node, int] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, int(key.start_mark.line)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], int(node.value[part].start_mark.line)
    return None


def rename_keys(
    node: Node, data: Any, new_key: Callable[[Path], str | None], path: Path
) -> Iterator[tuple[int, str, str, bool]]:
    """Give each key for which `new_key` returns a name that name; yield its line (from 1), its old and its new name.

    Also yields whether both names are given; then the key keeps its old one.
    """
    if not isinstance(node, MappingNode) or not isinstance(data, dict):
        return
    for key, value in node.value:
        old = key.value
        new = new_key((*path, old))
        yield from rename_keys(value, data.get(old), new_key, (*path, old))
        if new is not None and old in data:
            given_twice = new in data
            if not given_twice:
                data[new] = data.pop(old)
                key.value = new
            yield int(key.start_mark.line) + 1, old, new, given_twice


_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_AMBIGUOUS = re.compile(r"[-+]?0[0-9_]|.*_")
"""How a number begins that is octal to readers of YAML 1.1, as 010 is, or text to those of 1.2, as 1_000 is."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def _unsupported_nodes(yaml: YAML, node: Node, seen: set[int], within: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """Yield the nodes that JSON cannot hold: dates, foreign tags, keys that are not text, an anchor within itself."""
    line = node.start_mark.line + 1
    if id(node) in within:
        yield line, "an anchor contains itself; write the values out"
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.tag not in _PLAIN:
        kind = str(node.tag).rpartition(":")[2].lstrip("!")
        if isinstance(node, ScalarNode):
            yield line, f"{_shown(node)} reads as a {kind}, which is not allowed here; put it in quotes for text"
        else:
            yield line, f"{_shown(node)} has the tag {quoted(kind)}, which is not allowed here; remove the tag"
    elif isinstance(node, ScalarNode):
        yield from ((line, error) for error in _foreign_scalar(yaml, node))
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if not (isinstance(key, ScalarNode) and str(key.tag).endswith((":str", ":merge"))):
                yield key.start_mark.line + 1, f"{_shown(key)} is a key and not text; put it in quotes"
            yield from _unsupported_nodes(yaml, value, seen, (*within, id(node)))
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _unsupported_nodes(yaml, item, seen, (*within, id(node)))


def _foreign_scalar(yaml: YAML, node: ScalarNode) -> Iterator[str]:
    try:
        value = yaml.constructor.construct_object(node)
    except (ValueError, LookupError):
        kind = str(node.tag).rpartition(":")[2]
        yield f"{_shown(node)} cannot be read as {kind}; put it in quotes for text"
        return
    if isinstance(value, (int, float)) and _AMBIGUOUS.match(node.value):
        plain = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", node.value.replace("_", "")).removeprefix("+")
        yield f"{_shown(node)} is not the same to all readers of YAML; write {plain}, or put it in quotes for text"
    if isinstance(value, float) and not (isfinite(value) or isinstance(value, WrittenNumber)):
        yield f"{_shown(node)} is not a finite number; put it in quotes for text"
    if isinstance(value, str) and _SURROGATE.search(value):
        yield "half of a surrogate pair is not a character; write the character itself"


def _shown(node: Node) -> str:
    return quoted(node.value) if isinstance(node, ScalarNode) else "a list or a mapping"
