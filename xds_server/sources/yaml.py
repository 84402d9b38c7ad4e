"""Reads the text of a file into objects, and finds the line of any field in it.

`load` keeps what it parsed, so that an edit of one document parses only that document again. Lines are looked up by
`locate` when somebody asks, so that good input pays nothing for them.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

import msgspec
import yaml

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, Position, diagnostic
from xds_server.kube.identify import Unidentified, flatten, identify
from xds_server.kube.meta import Raw, Source
from xds_server.sources import json, tree
from xds_server.sources.tree import MAX_ALIASED, Problem, Tree

MAX_FILE_BYTES = 64 * 2**20
MAX_DOCUMENT_CHARACTERS = 16 * 2**20

_BOUNDARY = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_CONTENT = re.compile(r"^[ \t]*[^%#\s]", re.MULTILINE)


class Found(msgspec.Struct, frozen=True, eq=False):
    """An object in a document. raw: with an empty source. lines: how many are before it in the document."""

    raw: Raw
    root: Path
    lines: int


class Document(msgspec.Struct, frozen=True, eq=False):
    """What one text says, wherever it stands. ref: the object that has the problems, if that much could be read.
    aliased: see `tree.Tree`."""

    objects: tuple[Found, ...] = ()
    problems: tuple[Problem, ...] = ()
    ref: ObjectRef | None = None
    unidentified: tuple[tuple[Path, Unidentified], ...] = ()
    aliased: int = 0


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """broken: something in the file could not be read as objects, so an object that is missing may still be meant.
    documents: by their text, for the next load."""

    raws: tuple[Raw, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    broken: bool = False
    documents: Mapping[str, Document] = {}


_EMPTY = Loaded()


def load(content: bytes, file: str, previous: Loaded = _EMPTY) -> Loaded:
    """All objects of a file and all that is wrong with it; a broken document does not hurt the others.

    file: the name to use in positions; one that ends in `.json` is read as JSON.
    previous: what the last load of the file gave.
    """
    if len(content) > MAX_FILE_BYTES:
        return Loaded(diagnostics=(too_large(file, len(content)),), broken=True)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = content[: error.start].decode("utf-8-sig", errors="ignore")
        place, detail = _position(len(good), Source(file, 1, good)), f"the file is not UTF-8: {error.reason}"
        return Loaded(diagnostics=(diagnostic("XDS1002", None, position=place, detail=detail),), broken=True)
    raws: list[Raw] = []
    diagnostics: list[Diagnostic] = []
    documents: dict[str, Document] = {}
    parse = json.parse if file.endswith(".json") else tree.parse
    budget = MAX_ALIASED
    for line, part in [(1, text)] if file.endswith(".json") else split(text):
        document = previous.documents.get(part) or documents.get(part) or _document(part, parse, budget)
        if document.aliased <= budget:
            budget -= document.aliased
            documents[part] = document
        else:
            document = _TOO_MANY_ALIASES
        source = Source(file, line, part)
        raws.extend(_placed(found, source) for found in document.objects)
        diagnostics.extend(_diagnostic(problem, source, document.ref) for problem in document.problems)
        diagnostics.extend(_unidentified(root, reason, source) for root, reason in document.unidentified)
    return Loaded(tuple(raws), tuple(diagnostics), bool(diagnostics), documents)


def too_large(file: str, size: int) -> Diagnostic:
    detail = f"the file has {size:,} bytes; {MAX_FILE_BYTES:,} are allowed"
    return diagnostic("XDS1002", None, position=Position(file, 1, 1), detail=detail, suggestion="split it")


def split(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a YAML text with their first lines, cut at `---` and `...`; those without content left out.

    YAML allows neither marker at the start of a line inside a document (YAML 1.2.2, 9.1.2), so the cut is safe even
    where a document is broken.
    """
    line, start = 1, 0
    for match in _BOUNDARY.finditer(text):
        end = match.start()
        if end > start:
            part = text[start:end]
            if _CONTENT.search(part):
                yield line, part
            line += part.count("\n")
        start = end
        if match.group() == "...":  # ends a document, and belongs to none
            start = match.end()
    if _CONTENT.search(text, start):
        yield line, text[start:]


def _document(text: str, parse: Callable[[str], Tree], budget: int) -> Document:
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        detail = f"the document has {len(text):,} characters; {MAX_DOCUMENT_CHARACTERS:,} are allowed"
        return Document(problems=(Problem(0, detail),))
    read = parse(text)
    if read.problems:
        broken = identify(read.value, _NOWHERE)
        ref = broken.ref if isinstance(broken, Raw) else None
        return Document(problems=read.problems, ref=ref)
    if read.aliased > budget:  # not worth the work; `load` refuses it
        return Document(aliased=read.aliased)
    if read.value is None:
        return Document()
    objects: list[Found] = []
    unidentified: list[tuple[Path, Unidentified]] = []
    lines = index = 0
    for root, value in flatten(read.value) if isinstance(read.value, dict) else [((), read.value)]:
        start = _start(read, root)
        lines += text.count("\n", index, start)
        index = start
        found = identify(value, _NOWHERE)
        if isinstance(found, Unidentified):
            unidentified.append((root, found))
        else:
            objects.append(Found(found, root, lines))
    return Document(tuple(objects), unidentified=tuple(unidentified), aliased=read.aliased)


def _start(read: Tree, root: Path) -> int:
    """The first character of an object: that of the document, or of an item of a List."""
    item = root[1] if root else None
    return read.item_starts[item] if isinstance(item, int) and item < len(read.item_starts) else read.start


_NOWHERE = Source()
_TOO_MANY_ALIASES = Document(
    problems=(Problem(0, f"aliases expand the file by more than {MAX_ALIASED:,} nodes and characters"),)
)


def _placed(found: Found, source: Source) -> Raw:
    source = Source(source.file, source.line, source.text, found.root, source.line + found.lines)
    return Raw(found.raw.ref, found.raw.api_version, found.raw.body, source, found.raw.digest)


def _position(index: int, source: Source) -> Position:
    """The place of a character of a document."""
    breaks = _line_breaks(source.text)
    line = bisect_left(breaks, index)
    return Position(source.file, source.line + line, index - (breaks[line - 1] if line else -1))


@functools.lru_cache(maxsize=8)
def _line_breaks(text: str) -> list[int]:
    return [match.start() for match in re.finditer("\n", text)]


def _diagnostic(problem: Problem, source: Source, ref: ObjectRef | None) -> Diagnostic:
    position, first = _position(problem.index, source), ""
    if problem.first is not None:
        place = _position(problem.first, source)
        first = f"{place.line}:{place.column}"
    if problem.key is not None:
        return diagnostic("XDS1003", ref, position=position, key=problem.key, first=first or "the same place")
    detail = f"{problem.detail}; it begins at {first}" if first else problem.detail
    return diagnostic("XDS1001", ref, position=position, detail=detail, suggestion=problem.suggestion)


def _unidentified(root: Path, reason: Unidentified, source: Source) -> Diagnostic:
    position = locate(source, (*root, *reason.path))
    return diagnostic("XDS1001", None, position=position, detail=reason.detail, suggestion=reason.suggestion)


def locate(source: Source, path: Path = (), *, key: bool = False) -> Position:
    """Where a field is in the file: its value, or its key. A path that does not exist gives the nearest parent."""
    steps = (*source.root, *path)
    node = _root(source.text)
    found = node
    for number, step in enumerate(steps, start=1):
        key_node, node = _child(node, step)
        if node is None:
            break
        found = key_node if key and key_node is not None and number == len(steps) else node
    return _position(found.start_mark.index if found is not None else 0, source)


@functools.lru_cache(maxsize=8)
def _root(text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(json.as_yaml(text), Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
    return node


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The nodes of a key and its value; no key for an item of a list; nothing when there is no such field."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return None, node.value[step] if step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None, None
    for key, value in node.value:
        if key.value == step:
            return key, value
    for key, value in node.value:
        if key.value == "<<":
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                found = _child(merged, step)
                if found[1] is not None:
                    return found
    return None, None
