"""Provenance: which object, and which field of it, made a value."""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import ObjectRef, Path, format_path


class Origin(msgspec.Struct, frozen=True, order=True, gc=False):
    """path is empty for the object as a whole."""

    ref: ObjectRef
    path: Path = ()

    def __str__(self) -> str:
        return f"{self.ref} {format_path(self.path)}".rstrip()
