"""Compares only the part of a message that a test is about."""

from __future__ import annotations

from typing import Any


def picked(actual: Any, shape: Any) -> Any:
    """The part of `actual` that `shape` has; None for what is missing, so that a shape can ask for absence."""
    if isinstance(shape, dict) and isinstance(actual, dict):
        return {key: picked(actual.get(key), value) for key, value in shape.items()}
    if isinstance(shape, list) and isinstance(actual, list) and len(shape) == len(actual):
        return [picked(item, value) for item, value in zip(actual, shape, strict=True)]
    return actual
