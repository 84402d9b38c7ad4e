"""A client that refuses everything from some moment on is not sent the same again and again (S18, D16)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.client import CDS, EDS, LDS, RDS, SDS, Got, GroupWorld, SotwClient, resource
from xds_server.envoy.resource import Resource

TYPES = (CDS, EDS, LDS, RDS, SDS)
NAMES = ("a", "b", "c")

worlds = st.lists(
    st.builds(
        lambda type_url, name, content: resource(type_url, name, content, [(EDS, name)] if type_url == CDS else []),
        st.sampled_from(TYPES),
        st.sampled_from(NAMES),
        st.sampled_from(["1", "2"]),
    ),
    max_size=10,
    unique_by=lambda r: (r.type_url, r.name),
)
requests = st.lists(
    st.tuples(st.sampled_from(TYPES), st.lists(st.sampled_from([*NAMES, "nope", "*"]), unique=True), st.booleans()),
    max_size=6,
    unique_by=lambda request: request[0],
)


def refuse(client: Any, got: Got, names: list[str]) -> Any:
    return client.nack(got, names) if isinstance(client, SotwClient) else client.nack(got)


def ask(client: Any, type_url: str, names: list[str], resumes: bool) -> None:
    if isinstance(client, SotwClient):
        client.ask(type_url, names, "old" if resumes else "")
    else:
        client.ask(type_url, names, versions={"a": "a-1", "gone": "gone-1"} if resumes else {})


@pytest.mark.parametrize("variant", ["sotw", "delta"])
@settings(max_examples=300, derandomize=True, deadline=None)
@given(before=worlds, after=worlds, asked=requests, accepted=st.integers(0, 6))
def test_s18_d16_a_client_that_refuses_everything_is_left_alone(
    variant: str,
    before: list[Resource],
    after: list[Resource],
    asked: list[tuple[str, list[str], bool]],
    accepted: int,
) -> None:
    world = GroupWorld(*before)
    client = getattr(world, variant)()
    names = {type_url: wanted for type_url, wanted, _ in asked}
    for type_url, wanted, resumes in asked:
        ask(client, type_url, wanted, resumes)
    answers = 0
    for resources in (None, after):
        if resources is not None:
            world.offer(*resources)
        sent: list[Any] = []
        for _ in range(40):
            for got in client.take():
                sent.append(got)
                answers += 1
                if answers <= accepted and isinstance(client, SotwClient):
                    verdict = client.ack(got, names[got.type_url])
                elif answers <= accepted:
                    verdict = client.ack(got)
                else:
                    verdict = refuse(client, got, names[got.type_url])
                world.group.judge("node", verdict)
                world.settle()
            client.wait(10)
        assert not client.take(), "the conversation never ends"
        assert len(sent) <= 12 * len(TYPES), "the conversation is too long"
