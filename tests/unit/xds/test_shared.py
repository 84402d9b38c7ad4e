from __future__ import annotations

from xds_server.memo import canonical
from xds_server.xds.shared import Shared


def assemble(nonce: str, text: str) -> bytes:
    return f"{nonce}:{text}".encode()


def test_streams_that_are_alike_get_the_same_bytes() -> None:
    shared = Shared()
    one, other = shared.response(0, assemble, "a"), shared.response(0, assemble, "a")
    assert one == other == (1, b"1:a")
    assert one[1] is other[1]


def test_a_stream_never_gets_a_nonce_that_it_had() -> None:
    shared = Shared()
    seen = [0]
    for text in "ababaa":
        seen.append(shared.response(seen[-1], assemble, text)[0])
    assert seen == sorted(set(seen))


def test_nonces_go_on_after_what_was_shared_is_forgotten() -> None:
    shared = Shared()
    first, _ = shared.response(0, assemble, "a")
    shared.turn()
    assert shared.response(0, assemble, "a")[0] > first


def test_much_is_forgotten_in_time() -> None:
    shared = Shared()
    big = "x" * 2**20
    for i in range(100):
        shared.response(0, assemble, f"{i}{big}")
    assert sum(len(data) for _, data in shared._responses.values()) < 40 * 2**20


def test_equal_values_become_one() -> None:
    shared = Shared()
    first = frozenset({"a", "b"})
    assert canonical(shared, frozenset({"b", "a"})) is canonical(shared, first)
