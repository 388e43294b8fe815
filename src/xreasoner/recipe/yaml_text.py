"""Reads YAML within limits; each mistake is one line that names its place.

The limits are on what a text comes to: a few lines of aliases can stand for more values than memory holds.
"""

import re
from collections import Counter
from typing import Any

import yaml

from xreasoner.recipe.errors import one_line

LONGEST_TEXT = 1 << 18
MOST_VALUES = 50_000
"""With every alias written out."""
CHARACTERS_OF_A_VALUE = 64
"""A longer text counts as several values."""
DEEPEST = 50
MOST_DIGITS = 40
_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")}
_SURROGATE = re.compile("[\ud800-\udfff]")


class YamlLoader(yaml.SafeLoader):
    """YAML as users expect it: 5e-4 is a number, a date is a text."""


YamlLoader.add_implicit_resolver(
    _TAG + "float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
YamlLoader.add_constructor(_TAG + "timestamp", lambda loader, node: str(node.value))


class YamlError(ValueError):
    def __init__(self, problem: str, mark: Any = None) -> None:
        super().__init__(problem)
        self.line = mark.line + 1 if mark is not None else None


def parse_yaml(text: str, where: str) -> Any:
    """Mappings, lists, texts, numbers, true, false and null."""
    try:
        return _parsed(text)
    except YamlError as error:
        line, problem = error.line, str(error)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = str(error.problem)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"the character U+{error.character:04X} is not allowed"
    except RecursionError:
        line, problem = None, "nested too deeply"
    except (ValueError, OverflowError) as error:  # from a number such as 0x_
        line, problem = None, f"a number cannot be read: {error}"
    raise ValueError(f"{where}{f':{line}' if line else ''}: invalid YAML: {one_line(problem)}")


def _parsed(text: str) -> Any:
    if len(text) > LONGEST_TEXT:
        raise YamlError(f"{len(text):,} characters; the limit is {LONGEST_TEXT:,}")
    loader = YamlLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, counted: dict[int, int], depth: int) -> int:
    """How many values a node comes to; 0 marks a node that is being counted, so it contains itself."""
    if counted.get(id(node)) == 0:
        raise YamlError("an alias stands for a value that contains it", node.start_mark)
    if depth > DEEPEST:
        raise YamlError("nested too deeply", node.start_mark)
    if id(node) not in counted:
        counted[id(node)] = 0
        _refuse_odd(node)
        size = 1 + len(node.value) // CHARACTERS_OF_A_VALUE if isinstance(node, yaml.ScalarNode) else 1
        counted[id(node)] = size + sum(_count(child, counted, depth + 1) for child in _children(node))
    if counted[id(node)] > MOST_VALUES:
        raise YamlError(f"more than {MOST_VALUES:,} values", node.start_mark)
    return counted[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse_odd(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        _refuse_odd_keys(node)
    if node.tag not in _TAGS and node.tag != _TAG + "merge":
        raise YamlError(f"the tag {node.tag.replace(_TAG, '!!')} is not for recipes", node.start_mark)
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _TAG + "int" and len(node.value) > MOST_DIGITS:
            raise YamlError(f"a number of {len(node.value):,} digits", node.start_mark)
        if _SURROGATE.search(node.value):
            raise YamlError("half of a surrogate pair, which is no character", node.start_mark)


def _refuse_odd_keys(node: yaml.MappingNode) -> None:
    for key, _ in node.value:
        if key.tag not in (_TAG + "str", _TAG + "merge"):
            raise YamlError("a key must be a text; put it in quotes", key.start_mark)
    twice = [key for key, count in Counter(key.value for key, _ in node.value).items() if count > 1]
    if twice:
        raise YamlError(f"the key {twice[0]} appears twice", node.start_mark)
