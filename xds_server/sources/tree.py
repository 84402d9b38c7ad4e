"""One YAML document as plain data, strictly, with the place of everything that is wrong in it.

Built from libyaml's events without recursion, so that neither deep nesting nor an alias bomb can hurt: what aliases
add is counted before anything walks it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from xds_server.sources.scalars import resolve

if not yaml.__with_libyaml__:
    raise ImportError(
        "PyYAML was built without libyaml, and the pure Python parser is ten times slower; "
        "install a PyYAML wheel, or libyaml's headers before building it"
    )

MAX_DEPTH = 100
"""Mappings and lists inside each other. The deepest CRD schema in use has about 30."""
MAX_ALIASED = 1_000_000
"""Nodes and characters that the aliases of one document may add to it."""
MAX_PROBLEMS = 1_000
"""Mistakes of one document that are told."""

_TAG = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    _TAG + "str": (str,),
    "!": (str,),
    _TAG + "int": (int,),
    _TAG + "float": (int, float),
    _TAG + "bool": (bool,),
    _TAG + "null": (type(None),),
}
_COLLECTIONS = frozenset({None, "!", _TAG + "map", _TAG + "seq"})
_UNSET: Any = object()


class Problem(msgspec.Struct, frozen=True):
    """index: the character of the document. key: one that appears twice in a mapping. first: where that key was
    before, or where what is broken begins."""

    index: int
    detail: str
    suggestion: str = ""
    key: str | None = None
    first: int | None = None


class Tree(msgspec.Struct, frozen=True):
    """value: None for an empty document. start: its first character. item_starts: those of `items`, for a List.
    problems: if any, the value must not be used. aliased: what aliases added, in nodes and characters."""

    value: Any
    start: int = 0
    item_starts: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()
    aliased: int = 0


class _Stop(Exception):
    """The rest of the document cannot be read."""


class _Frame:
    """A mapping or a list that is not complete yet."""

    __slots__ = ("anchor", "before", "is_key_next", "key", "keys", "merged", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before
        self.is_key_next = isinstance(value, dict)
        self.key: Any = _UNSET
        self.keys: dict[str, int] = {}  # where each was first
        self.merged: list[dict[str, Any]] = []


_MERGE: Any = object()
_SKIPPED: Any = object()


def parse(text: str) -> Tree:
    """Reads one document. Never raises for what the user wrote."""
    return _Builder(text).build()


class _Builder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._weight = 0
        self._aliased = 0
        self._start: int | None = None
        self._item_starts: list[int] = []
        self._root: Any = None

    def build(self) -> Tree:
        try:
            loader = yaml.CSafeLoader(self._text)
            try:
                while (event := loader.get_event()) is not None:
                    if type(event) is not yaml.ScalarEvent or not self._simple(event):
                        self._event(event)
            finally:
                loader.dispose()
        except _Stop:
            pass
        except yaml.YAMLError as error:
            self._problems.append(syntax_problem(error, self._text))
        return Tree(self._root, self._start or 0, tuple(self._item_starts), tuple(self._problems), self._aliased)

    def _simple(self, event: Any) -> bool:
        """Takes a scalar without an anchor or a tag into a mapping or list, as `_scalar` does: nearly all events are
        such, and this is most of the time that a directory takes. False if there is more to it."""
        stack = self._stack
        if not stack or event.anchor is not None or event.tag is not None:
            return False
        frame, text = stack[-1], event.value
        try:
            value = resolve(text) if event.implicit[0] else text
        except ValueError:
            return False
        if frame.is_key_next:
            if type(value) is not str or text == "<<" or value in frame.keys:
                return False
            frame.keys[value] = event.start_mark.index
            frame.key = value
            frame.is_key_next = False
        elif type(frame.value) is list:
            if len(stack) == 2:  # perhaps an item of a List
                return False
            frame.value.append(value)
        elif frame.key is _MERGE or frame.key is _SKIPPED:
            return False
        else:
            frame.value[frame.key] = value
            frame.is_key_next = True
        self._weight += 1 + len(text)
        return True

    def _event(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._begin(event)
            self._weight += 1 + len(event.value)
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._begin(event)
            self._open(event, {} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._begin(event)
            self._alias(event)

    def _begin(self, event: Any) -> None:
        stack = self._stack
        if not stack:
            self._start = event.start_mark.index
        elif len(stack) == 2 and stack[0].key == "items" and type(stack[1].value) is list:
            self._item_starts.append(event.start_mark.index)

    def _scalar(self, event: Any) -> None:
        if self._stack and self._stack[-1].is_key_next:
            self._key(event)
            return
        value = self._resolved(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1 + len(event.value))
        self._add(value)

    def _resolved(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        try:
            if tag is None:
                return resolve(text) if event.implicit[0] else text
            if tag not in _TYPES:
                self._problem(event, f"the tag {tag.replace(_TAG, '!!')} is not supported", "leave it out")
                return text
            if str in _TYPES[tag]:
                return text
            value = resolve(text)
        except ValueError as error:
            self._problem(event, str(error), "write it in quotes if a string is meant")
            return text
        if not isinstance(value, _TYPES[tag]) or (isinstance(value, bool) and bool not in _TYPES[tag]):
            self._problem(event, f"the value is no {tag.replace(_TAG, '!!')}")
        return value

    def _key(self, event: Any) -> None:
        frame, text = self._stack[-1], event.value
        frame.is_key_next = False
        if event.tag is None and event.implicit[0] and text == "<<":
            frame.key = _MERGE
            return
        key = self._resolved(event)
        if event.anchor:
            self._anchors[event.anchor] = (key, 1 + len(text))
        if not isinstance(key, str):
            detail = f"the key {text!r} is read as {_words(key)}; keys must be strings"
            self._problem(event, detail, f'write it in quotes, as in "{text}"')
            key = text
        if key in frame.keys:
            self._add_problem(Problem(event.start_mark.index, "", key=key, first=frame.keys[key]))
            frame.key = _SKIPPED
            return
        frame.keys[key] = event.start_mark.index
        frame.key = key

    def _open(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._fatal(event, f"more than {MAX_DEPTH} mappings and lists are inside each other")
        if self._stack and self._stack[-1].is_key_next:
            advice = "fill in the template first" if "{{" in self._text else ""
            self._fatal(event, "a mapping or list is used as a key; keys must be strings", advice)
        if event.tag not in _COLLECTIONS:
            self._problem(event, f"the tag {event.tag.replace(_TAG, '!!')} is not supported", "leave it out")
        self._stack.append(_Frame(value, event.anchor, self._weight))
        self._weight += 1

    def _close(self) -> None:
        frame = self._stack.pop()
        for merged in frame.merged:
            for key, value in merged.items():
                frame.value.setdefault(key, value)  # type: ignore[union-attr]  # only a mapping has merges
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, self._weight - frame.before)
        self._add(frame.value)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._fatal(event, f"the alias *{event.anchor} has no anchor &{event.anchor} that is complete before it")
        value, weight = self._anchors[event.anchor]
        self._weight += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED:
            self._fatal(event, f"aliases expand the document by more than {MAX_ALIASED:,} nodes and characters")
        if self._stack and self._stack[-1].is_key_next:
            self._fatal(event, "an alias is used as a key", "write the key out")
        self._add(value)

    def _add(self, value: Any) -> None:
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        if frame.key is _MERGE:
            self._merge(frame, value)
        elif frame.key is not _SKIPPED:
            frame.value[frame.key] = value
        frame.is_key_next = True

    def _merge(self, frame: _Frame, value: Any) -> None:
        for merged in value if isinstance(value, list) else [value]:
            if isinstance(merged, dict):
                frame.merged.append(merged)
            else:
                self._add_problem(Problem(self._start or 0, "the merge key << needs a mapping"))

    def _problem(self, event: Any, detail: str, suggestion: str = "") -> None:
        self._add_problem(Problem(event.start_mark.index, detail, suggestion))

    def _add_problem(self, problem: Problem) -> None:
        if len(self._problems) == MAX_PROBLEMS:
            self._problems.append(
                Problem(problem.index, f"there are more than {MAX_PROBLEMS:,} mistakes; the rest is left")
            )
            raise _Stop
        self._problems.append(problem)

    def _fatal(self, event: Any, detail: str, suggestion: str = "") -> None:
        self._problem(event, detail, suggestion)
        raise _Stop


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else "a number"


def syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """libyaml's error in words that help."""
    if isinstance(error, yaml.reader.ReaderError):
        index = len(text.encode()[: error.position].decode(errors="ignore"))
        return Problem(index, f"{error.reason}: {text[index : index + 1]!r}")
    mark = getattr(error, "problem_mark", None)
    index = mark.index if mark is not None else 0
    problem = str(getattr(error, "problem", None) or error)
    context = getattr(error, "context", None)
    character = text[index : index + 1]
    if problem == "found character that cannot start any token":
        if character == "\t":
            return Problem(index, "a tab is used for indentation", "indent with spaces")
        return Problem(index, f"a value cannot start with {character!r}", "write it in quotes")
    if problem == "mapping values are not allowed in this context":
        return Problem(index, "a second ': ' in one line, or a wrong indentation", "indent it, or write it in quotes")
    begin = getattr(error, "context_mark", None)
    if context in _OPEN and begin is not None:
        return Problem(index, f"{_OPEN[context]} is not closed, or a comma is missing", first=begin.index)
    return Problem(index, f"{problem} {context}" if context else problem)


_OPEN = {
    "while parsing a flow mapping": "the mapping in {}",
    "while parsing a flow sequence": "the list in []",
    "while parsing a flow node": "a list in [] or a mapping in {}",
    "while scanning a quoted scalar": "the quoted text",
}
