"""Every mistake of a value that does not fit its type, in plain words.

msgspec stops at the first mistake (by design, jcrist/msgspec#264), so a value that it refused is walked here once
more along the very type that msgspec decodes. A value that it accepts never comes here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from xds_server.diagnostics import Path
from xds_server.kube.meta import Ignored, Model, ObjectMeta
from xds_server.kube.rules import Violation

_LONGEST_SHOWN = 60


class Mistake(msgspec.Struct, frozen=True):
    """unknown: the last step of the path is a field that does not exist; otherwise `detail` says what is wrong."""

    path: Path
    detail: str = ""
    suggestion: str = ""
    unknown: bool = False


class Explanation:
    """One walk. `mistakes` grows; `value` gives the input without the nulls that mean absent.

    convert: decodes a value as a type, to learn what only decoding can tell.
    null_is_absent: in every field; otherwise only in metadata and where a model says `NULLABLE`.
    secret: values are not shown.
    """

    def __init__(self, convert: Callable[[Any, Any], object], null_is_absent: bool, secret: bool) -> None:
        self.mistakes: list[Mistake] = []
        self._convert = convert
        self._null_is_absent = null_is_absent
        self._secret = secret

    def value(self, value: Any, of: inspect.Type, path: Path = ()) -> Any:
        """The cleaned value."""
        match of:
            case inspect.StructType():
                return self._struct(value, of, path)
            case inspect.VarTupleType():
                return self._sequence(value, of, path)
            case inspect.DictType():
                return self._mapping(value, of.value_type, path)
            case inspect.UnionType():
                options = [option for option in of.types if not isinstance(option, inspect.NoneType)]
                if len(options) == 1:
                    return self.value(value, options[0], path)
                return self._scalar(value, options, path)
            case _:
                return self._scalar(value, [of], path)

    def _struct(self, value: Any, of: inspect.StructType, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, "a mapping", path)
        before = len(self.mistakes)
        fields = {field.encode_name: field for field in of.fields}
        clean: dict[str, Any] = {}
        for key, item in value.items():
            if key not in fields:
                self.mistakes.append(Mistake((*path, key), suggestion=_alike(key, fields), unknown=True))
            elif item is not None:
                clean[key] = self.value(item, fields[key].type, (*path, key))
            elif not self._may_be_null(of.cls, key):
                self._say((*path, key), "the field is null", "give it a value, or leave the whole field out")
        for name, field in fields.items():
            if field.required and value.get(name) is None and (name not in value or self._may_be_null(of.cls, name)):
                self._say((*path, name), f"the required field {name} is missing", f"add {name}")
        if len(self.mistakes) == before:
            self._rules(clean, of.cls, path)
        return clean

    def _may_be_null(self, model: type[msgspec.Struct], name: str) -> bool:
        return self._null_is_absent or model is ObjectMeta or (issubclass(model, Model) and name in model.NULLABLE)

    def _rules(self, value: Any, model: type[msgspec.Struct], path: Path) -> None:
        """What the model's own `__post_init__` has against a value whose parts are all right."""
        try:
            self._convert(value, model)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, Violation):
                for step, message in error.__cause__.broken:
                    self._say((*path, *step), message)
            else:
                self._say(path, str(error))

    def _sequence(self, value: Any, of: inspect.VarTupleType, path: Path) -> Any:
        if not isinstance(value, list):
            return self._wrong(value, "a list", path)
        if of.min_length is not None and len(value) < of.min_length:
            self._say(path, f"the list needs at least {of.min_length} items")
        if of.max_length is not None and len(value) > of.max_length:
            self._say(path, f"the list has {len(value)} items; {of.max_length} are allowed")
        return [self.value(item, of.item_type, (*path, index)) for index, item in enumerate(value)]

    def _mapping(self, value: Any, of: inspect.Type, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, "a mapping", path)
        return {key: self.value(item, of, (*path, key)) for key, item in value.items()}

    def _scalar(self, value: Any, options: list[inspect.Type], path: Path) -> Any:
        if any(isinstance(option, inspect.CustomType) and option.cls is Ignored for option in options):
            return value
        if not any(_fits(value, option) for option in options):
            return self._wrong(
                value, " or ".join(_words(option) for option in options), path, self._advice(value, options)
            )
        for option in options:
            problem = self._problem(value, option) if _fits(value, option) else ""
            if problem:
                self._say(path, problem, _alike(value, getattr(option, "values", ())))
        return value

    def _problem(self, value: Any, of: inspect.Type) -> str:
        """What is wrong with a value of the right JSON type, or an empty text."""
        match of:
            case inspect.LiteralType() if value not in of.values:
                return f"{self._shown(value)} is not one of {', '.join(str(option) for option in of.values)}"
            case inspect.IntType() | inspect.FloatType():
                low, high = of.ge, of.le
                if (low is not None and value < low) or (high is not None and value > high):
                    return f"{self._shown(value)} is not {_words(of)}"
            case inspect.StrType() if of.min_length and len(value) < of.min_length:
                return "the text is empty"
            case inspect.BytesType():
                return self._decoded(value, bytes, "the value is not base64")
            case inspect.CustomType():
                return self._decoded(value, of.cls)
        return ""

    def _decoded(self, value: Any, of: Any, words: str = "") -> str:
        try:
            self._convert(value, of)
        except msgspec.ValidationError as error:
            return words or str(error)
        return ""

    def _wrong(self, value: Any, expected: str, path: Path, suggestion: str = "") -> Any:
        self._say(path, f"{self._shown(value)} is not {expected}", suggestion)
        return value

    def _advice(self, value: Any, options: list[inspect.Type]) -> str:
        """How to write the value so that it has the type."""
        types = tuple(type(option) for option in options)
        if isinstance(value, str) and {inspect.IntType, inspect.FloatType} & {*types} and value.isdecimal():
            return "write it without quotes"
        if isinstance(value, bool | int | float) and inspect.StrType in types:
            return "write it in quotes" if self._secret else f'write it in quotes, as in "{json.dumps(value)}"'
        return ""

    def _say(self, path: Path, detail: str, suggestion: str = "") -> None:
        self.mistakes.append(Mistake(path, detail, suggestion))

    def _shown(self, value: Any) -> str:
        match value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "null"
            case _ if self._secret:
                return "the value"
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _fits(value: Any, of: inspect.Type) -> bool:
    """Whether the value has the JSON type that the type is written with."""
    match of:
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.LiteralType():
            return type(value) in {type(option) for option in of.values}
        case _:  # strings, base64 and durations
            return isinstance(value, str)


def _words(of: inspect.Type) -> str:
    match of:
        case inspect.IntType():
            return "a whole number" + _range(of.ge, of.le)
        case inspect.FloatType():
            return "a number" + _range(of.ge, of.le)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return "one of " + ", ".join(str(option) for option in of.values)
        case inspect.BytesType():
            return "base64 text"
        case inspect.CustomType():
            return "a duration such as 10s or 1m30s"
        case _:
            return "a string"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    return f" of at least {low:.15g}" if low is not None else ""


def _alike(text: Any, known: Mapping[str, object] | tuple[Any, ...]) -> str:
    by_lower = {str(name).lower(): str(name) for name in known}
    close = difflib.get_close_matches(str(text).lower(), by_lower, n=1, cutoff=0.7)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""
