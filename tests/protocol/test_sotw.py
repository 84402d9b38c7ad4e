"""State of the world, one test for each behaviour of the specification's checklist (S01 to S41)."""

from __future__ import annotations

import pytest

from tests.protocol.client import (
    CDS,
    EDS,
    LDS,
    RDS,
    SDS,
    World,
    assignment,
    cluster,
    listener,
    resource,
    route,
    secret,
)

TYPES = (CDS, EDS, LDS, RDS)
FULL = (CDS, LDS)
PARTIAL = (EDS, RDS, SDS)
RTDS = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
ECDS = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
SRDS = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"


def world() -> World:
    return World(*(resource(t, name) for t in (*TYPES, SDS) for name in ("a", "b", "c")))


@pytest.mark.parametrize("type_url", FULL)
def test_s01_an_empty_first_request_gets_everything_once(type_url: str) -> None:
    client = world().sotw()
    client.ask(type_url)
    assert client.one(type_url).names == ["a", "b", "c"]


@pytest.mark.parametrize("type_url", TYPES)
def test_s02_a_star_gets_everything(type_url: str) -> None:
    client = world().sotw()
    client.ask(type_url, ["*"])
    assert client.one(type_url).names == ["a", "b", "c"]


def test_s03_acknowledgements_are_not_answered() -> None:
    client = world().sotw()
    for type_url in TYPES:
        client.get(type_url, ["a", "b"] if type_url in PARTIAL else [])
    assert client.quiet()


def test_s04_the_node_comes_only_once() -> None:
    client = world().sotw()
    client.get(CDS)
    assert client.node_sent
    assert client.get(EDS, ["a"]).names == ["a"]


@pytest.mark.parametrize("type_url", FULL)
def test_s05_one_name_gets_that_one(type_url: str) -> None:
    assert world().sotw().get(type_url, ["b"]).names == ["b"]


def test_s06_a_name_is_answered_though_others_exist() -> None:
    assert world().sotw().get(EDS, ["a"]).names == ["a"]


@pytest.mark.parametrize("type_url", [EDS, RDS], ids=["s07 assignments", "s08 routes"])
def test_s07_s08_every_name_is_delivered(type_url: str) -> None:
    assert world().sotw().get(type_url, ["c", "a", "b"]).names == ["a", "b", "c"]


@pytest.mark.parametrize("type_url", [EDS, RDS], ids=["s09 assignments", "s10 routes"])
def test_s09_s10_a_name_added_later_is_delivered_at_the_same_version(type_url: str) -> None:
    client = world().sotw()
    first = client.get(type_url, ["a"])
    client.ask(type_url, ["a", "b"], first.version, first.nonce)
    second = client.one(type_url)
    assert second.names == ["b"]
    assert second.version == first.version


def test_s11_a_cluster_added_to_the_list_brings_all_of_the_list() -> None:
    client = world().sotw()
    got = client.get(CDS, ["a"])
    client.ask(CDS, ["a", "b"], got.version, got.nonce)
    assert client.one(CDS).names == ["a", "b"]


@pytest.mark.parametrize("type_url", TYPES)
def test_s12_a_shorter_list_is_not_answered(type_url: str) -> None:
    client = world().sotw()
    got = client.get(type_url, ["a", "b"])
    client.ask(type_url, ["a"], got.version, got.nonce)
    assert client.quiet()


@pytest.mark.parametrize("type_url", TYPES)
def test_s13_a_name_taken_back_and_asked_again_is_sent_again(type_url: str) -> None:
    client = world().sotw()
    got = client.get(type_url, ["a", "b"])
    client.ask(type_url, ["a"], got.version, got.nonce)
    client.ask(type_url, ["a", "b"], got.version, got.nonce)
    assert "b" in client.one(type_url).names


def test_s13_endpoints_are_sent_again_after_the_last_cluster_came_back() -> None:
    """Envoy 1.40 asks R(EDS,[],v,n) when its last EDS cluster goes, and R(EDS,[names],v,n) when one comes again."""
    client = world().sotw()
    got = client.get(EDS, ["a", "b"])
    client.ask(EDS, [], got.version, got.nonce)
    client.ask(EDS, ["a", "b"], got.version, got.nonce)
    assert client.one(EDS).names == ["a", "b"]


def test_s13_a_forgotten_nonce_does_not_wedge_a_type_that_is_subscribed_again() -> None:
    """grpc-java#11796, #11799: clients forget nonces after the last unsubscription."""
    client = world().sotw()
    got = client.get(EDS, ["a"])
    client.ask(EDS, [], got.version, got.nonce)
    client.ask(EDS, ["a"])
    assert client.one(EDS).names == ["a"]


def test_s13_a_name_taken_back_while_responses_with_it_were_refused_is_sent_again() -> None:
    w = World(assignment("a"))
    client = w.sotw()
    client.ask(EDS, ["a", "c"])
    for content in "123":
        w.publish(assignment("a"), assignment("c", content))
    first, second, third, fourth = client.take(EDS)
    client.ack(first, ["a"])
    client.nack(second, ["a"])
    client.nack(third, ["a"])
    client.ack(fourth, ["a"])
    assert client.quiet()
    client.ask(EDS, ["a", "c"], fourth.version, fourth.nonce)
    assert client.one(EDS).contents == {"c": "3"}


def test_s14_requests_with_a_nonce_that_was_never_sent_get_no_answer() -> None:
    client = world().sotw()
    got = client.get(CDS)
    for _ in range(3):
        client.ask(CDS, [], got.version, "bogus")
    assert client.quiet()
    assert client.get(EDS, ["a"]).names == ["a"]


def test_s15_a_request_repeated_with_the_older_nonce_gets_no_answer() -> None:
    w = World(assignment("a"))
    client = w.sotw()
    client.ask(EDS, ["a"])
    first = client.one(EDS)
    w.publish(assignment("a", "2"))
    second = client.one(EDS)
    client.ask(EDS, ["a"], first.version, first.nonce)
    client.ask(EDS, ["a"], first.version, first.nonce)
    assert client.quiet()
    client.ack(second, ["a"])
    assert client.quiet()


def test_s16_two_first_requests_back_to_back_deliver_both_then_are_quiet() -> None:
    client = world().sotw()
    client.ask(EDS, ["a"])
    client.ask(EDS, ["a", "b"])
    got = client.take(EDS)
    assert {name for g in got for name in g.names} == {"a", "b"}
    for g in got:
        client.ack(g, ["a", "b"])
    assert client.quiet()


def test_s17_an_acknowledgement_may_carry_new_names() -> None:
    client = world().sotw()
    client.ask(EDS, ["a"])
    client.ack(client.one(EDS), ["a", "b"])
    assert client.one(EDS).names == ["b"]


def test_s18_a_refused_resource_is_not_sent_again() -> None:
    w = World(*(resource(t, "a") for t in TYPES))
    client = w.sotw()
    for type_url in TYPES:
        names = ["a"] if type_url in PARTIAL else []
        client.ask(type_url, names)
        got = client.one(type_url)
        client.nack(got, names)
        assert client.quiet()
        client.nack(got, names)
        assert client.quiet()


def test_s18_a_refused_removal_is_not_sent_again() -> None:
    w = world()
    client = w.sotw()
    client.get(CDS)
    w.publish(resource(CDS, "a"))
    gone = client.one(CDS)
    assert gone.names == ["a"]
    client.nack(gone)
    assert client.quiet()
    w.publish(resource(CDS, "a", "2"))
    assert client.one(CDS).contents == {"a": "2"}


@pytest.mark.parametrize("type_url", TYPES)
def test_s18_refusing_everything_ends_and_nothing_is_sent_twice(type_url: str) -> None:
    client = world().sotw()
    client.ask(type_url, ["a", "b", "c"] if type_url in PARTIAL else [])
    seen = []
    while got := client.take(type_url):
        seen += [g.names for g in got]
        for g in got:
            client.nack(g, ["a", "b", "c"] if type_url in PARTIAL else [])
    assert len(seen) <= 6
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])


def test_s19_the_error_decides_and_not_the_version() -> None:
    client = world().sotw()
    first = client.get(EDS, ["a"])
    client.ask(EDS, ["a", "b"], first.version, first.nonce)
    second = client.one(EDS)
    client.nack(second, ["a", "b"], version=second.version)
    assert client.quiet()


def test_s20_a_refusal_does_not_wedge_the_type() -> None:
    client = world().sotw()
    client.ask(EDS, ["a"])
    got = client.one(EDS)
    client.nack(got, ["a"])
    client.ask(EDS, ["a", "b"], "", got.nonce)
    assert client.one(EDS).names == ["b"]


def test_s20_names_inside_a_refusal_count() -> None:
    client = world().sotw()
    client.ask(EDS, ["a"])
    client.nack(client.one(EDS), ["a", "b"])
    assert client.one(EDS).names == ["b"]


@pytest.mark.parametrize("refused", [False, True], ids=["clusters not acknowledged", "clusters refused"])
def test_s21_types_do_not_wait_for_each_other_at_the_start(refused: bool) -> None:
    w = World(cluster("a"), assignment("a"), listener("l"), route("r"))
    client = w.sotw()
    client.ask(CDS)
    got = client.one(CDS)
    if refused:
        client.nack(got)
    client.ask(LDS)
    client.ask(RDS, ["r"])
    assert client.one(LDS).names == ["l"]
    assert client.one(RDS).names == ["r"]


@pytest.mark.parametrize("type_url", TYPES)
def test_s22_an_empty_list_after_names_unsubscribes(type_url: str) -> None:
    client = world().sotw()
    got = client.get(type_url, ["a"])
    client.ask(type_url, [], got.version, got.nonce)
    assert client.quiet()
    client.ask(type_url, ["a"], got.version, got.nonce)
    assert client.one(type_url).names == ["a"]


def test_s23_the_example_of_the_specification() -> None:
    client = world().sotw()
    got = client.get(CDS)
    assert got.names == ["a", "b", "c"]
    client.ask(CDS, ["*", "a"], got.version, got.nonce)
    client.ask(CDS, ["a"], got.version, got.nonce)
    client.ask(CDS, [], got.version, got.nonce)
    assert client.quiet()


@pytest.mark.parametrize("type_url", PARTIAL)
def test_s24_an_empty_first_request_of_other_types_gets_nothing(type_url: str) -> None:
    client = world().sotw()
    client.ask(type_url)
    assert client.quiet()
    client.ask(type_url, ["a"])
    assert client.one(type_url).names == ["a"]


@pytest.mark.parametrize("type_url", [RTDS, ECDS, SRDS, "type.googleapis.com/nonsense", "x"])
def test_s25_s26_5_ecds_5_rtds_types_that_are_not_served_are_ignored(type_url: str) -> None:
    client = world().sotw()
    client.ask(type_url, ["x"])
    client.ask(type_url, [], "1", "1", "no")
    assert client.quiet()
    assert client.get(CDS).names == ["a", "b", "c"]


def test_s27_a_new_stream_gets_its_named_resources_though_it_has_the_version() -> None:
    w = world()
    version = w.sotw().get(EDS, ["a"]).version
    again = w.sotw()
    again.ask(EDS, ["a"], version)
    assert again.one(EDS).names == ["a"]


@pytest.mark.parametrize("type_url", FULL)
def test_s27_a_new_stream_with_the_current_version_of_everything_is_not_sent_it_again(type_url: str) -> None:
    w = world()
    version = w.sotw().get(type_url).version
    again = w.sotw()
    again.ask(type_url, [], version)
    assert again.quiet()


def test_s28_the_first_request_of_a_stream_is_initial_whatever_its_nonce() -> None:
    client = world().sotw()
    client.ask(CDS, [], "old", "7")
    assert client.one(CDS).names == ["a", "b", "c"]


def test_s29_a_name_given_thrice_is_sent_once() -> None:
    client = world().sotw()
    client.ask(EDS, ["a", "a", "a"])
    assert client.one(EDS).names == ["a"]


@pytest.mark.parametrize("type_url", TYPES)
def test_s30_a_name_that_does_not_exist_holds_nothing_back(type_url: str) -> None:
    client = world().sotw()
    assert client.get(type_url, ["nope", "a"]).names == ["a"]
    assert client.quiet()


@pytest.mark.parametrize("type_url", TYPES)
def test_s31_x11_a_name_that_does_not_exist_is_said_to_be_missing_once_and_sent_when_it_does(type_url: str) -> None:
    """gRFC A88: a gRPC client then need not wait 15 s for it. Envoy 1.40 takes no notice."""
    w = World(resource(CDS, "z"))
    client = w.sotw()
    got = client.get(type_url, ["nope"])
    assert (got.names, got.missing) == ([], ["nope"])
    assert client.quiet()
    w.publish(resource(CDS, "z"), resource(type_url, "nope"))
    got = client.one(type_url)
    assert (got.names, got.missing) == (["nope"], [])


@pytest.mark.parametrize("type_url", TYPES)
def test_x11_what_is_missing_comes_beside_all_that_exists(type_url: str) -> None:
    client = world().sotw()
    got = client.get(type_url, ["a", "nope"])
    assert (got.names, got.missing) == (["a"], ["nope"])
    client.ask(type_url, ["a", "b", "nope"], got.version, got.nonce)
    more = client.one(type_url)
    assert more.names == (["a", "b"] if type_url in FULL else ["b"])
    assert more.missing == []


def test_x11_what_is_on_trial_is_not_said_to_be_missing() -> None:
    client = world().sotw()
    client.ask(RDS, ["a", "b"])
    client.nack(client.one(RDS), ["a", "b"])
    first = client.one(RDS)
    client.nack(first, ["a", "b"])
    assert (first.names, client.one(RDS).missing) == (["a"], [])


def test_s32_fifty_equal_acknowledgements_are_not_answered() -> None:
    client = world().sotw()
    got = client.get(CDS)
    for _ in range(50):
        client.ack(got)
    assert client.quiet()


def test_s33_equal_content_has_equal_versions_on_every_stream_and_replica() -> None:
    versions = {world().sotw().get(CDS).version, world().sotw().get(CDS).version}
    w = world()
    versions |= {w.sotw().get(CDS).version, w.sotw().get(CDS).version}
    assert len(versions) == 1


def test_s34_a_stream_that_ends_does_not_touch_another_of_the_same_node() -> None:
    w = world()
    one, other = w.sotw(), w.sotw()
    one.get(CDS)
    other.get(CDS)
    w.clients.remove(one)
    w.publish(resource(CDS, "new"))
    assert "new" in other.one(CDS).names
    assert one.quiet()


def test_s36_thousands_of_unknown_names_hold_nothing_back() -> None:
    client = world().sotw()
    client.ask(EDS, [*(f"nope-{i}" for i in range(5000)), "a", "b"])
    assert client.one(EDS).names == ["a", "b"]


def test_s37_all_types_at_once_are_all_answered() -> None:
    client = world().sotw()
    for type_url in TYPES:
        client.ask(type_url, ["a"])
    assert {got.type_url for got in client.take()} == set(TYPES)


def test_s38_the_newest_list_is_never_lost_in_a_race() -> None:
    """envoy#10363, #14914: a request may cross a response on its way."""
    client = world().sotw()
    first = client.get(EDS, ["a"])
    client.ask(EDS, ["a", "b"], first.version, first.nonce)
    crossing = client.one(EDS)
    client.ask(EDS, ["a", "b", "c"], first.version, first.nonce)
    client.ack(crossing, ["a", "b", "c"])
    assert [got.names for got in client.take(EDS)] == [["c"]]


def test_s39_a_resource_has_the_same_bytes_on_every_stream() -> None:
    w = world()
    one, other = w.sotw(), w.sotw()
    one.ask(CDS)
    other.ask(CDS)
    assert one.one(CDS).contents == other.one(CDS).contents


@pytest.mark.parametrize("type_url", [*FULL, *PARTIAL])
def test_s40_a_service_of_one_type_does_not_need_the_type(type_url: str) -> None:
    client = world().sotw(only=type_url)
    client.ask("", ["a"])
    assert client.one(type_url).names == ["a"]


def test_x09_names_of_the_xdstp_form_are_names_like_others() -> None:
    name = "xdstp://here/envoy.config.listener.v3.Listener/a?b=1&a=2"
    got = world().sotw().get(LDS, ["a", name])
    assert (got.names, got.missing) == (["a"], [name])


def test_5_sds_a_secret_that_does_not_exist_is_answered_with_nothing() -> None:
    w = World(secret("s"))
    client = w.sotw()
    client.ask(SDS, ["gone"])
    assert client.quiet()


def test_a_client_that_comes_back_and_refuses_hears_that_what_it_has_is_gone() -> None:
    world = World(listener("l", "refused"))
    client = world.sotw()
    client.ask(LDS, version="of an earlier stream")
    client.nack(client.one(LDS), version="of an earlier stream")
    assert client.quiet()
    world.publish()
    assert client.one(LDS).contents == {}
    assert client.quiet()
