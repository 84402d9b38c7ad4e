"""Plain values as YAML or JSON text."""

from __future__ import annotations

import json
from typing import Any

FORMATS = ("yaml", "json")


def formatted(value: Any, form: str) -> str:
    """The text in one of `FORMATS`, with a line end. The same value gives the same text everywhere."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    import yaml  # slow to import, and not needed for JSON

    class Dumper(yaml.CSafeDumper):
        """Shows a text of several lines as a block, and a value that occurs twice in full both times."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, _text)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _text(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)
