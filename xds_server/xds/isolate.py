"""Finding the culprit in a refused response.

Envoy refuses a whole response and often does not name the resource that it dislikes. So the suspects are parted in
two; each part is sent without the other, and parted again when it is refused, until a resource stands alone. What is
accepted is cleared. The search ends after at most two responses for each suspect, and with one bad resource after
about two for each doubling. It works alike where responses carry chunks and where they carry everything (SotW CDS
and LDS): there a suspect that is not on trial is offered in its last accepted form, or not at all.
"""

from __future__ import annotations

from xds_server.envoy.resource import Resource

Group = tuple[Resource, ...]


def split(suspects: Group, message: str) -> tuple[Group, ...]:
    """Parts two or more suspects into groups to be tried one after the other.

    A resource that the client's message names is probably the culprit: the others go first, so that they are
    delivered at once. The message is only a hint, because names of others may occur in it.
    """
    named = tuple(resource for resource in suspects if resource.name and resource.name in message)
    if 0 < len(named) < len(suspects):
        return (tuple(resource for resource in suspects if resource not in named), named)
    middle = len(suspects) // 2
    return suspects[:middle], suspects[middle:]
