"""Incremental, one test for each behaviour of the specification's checklist (D01 to D31)."""

from __future__ import annotations

import pytest

from tests.protocol.client import CDS, EDS, LDS, RDS, SDS, World, assignment, cluster, resource
from xds_server.xds.states import State

TYPES = (CDS, EDS, LDS, RDS)
WILDCARD = (CDS, LDS)
NAMED = (EDS, RDS)
VHDS = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
ECDS = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
SRDS = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
LEDS = "type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint"
RTDS = "type.googleapis.com/envoy.service.runtime.v3.Runtime"


def world() -> World:
    return World(*(resource(t, name) for t in (*TYPES, SDS) for name in ("a", "b")))


@pytest.mark.parametrize("type_url", WILDCARD)
def test_d01_an_empty_first_request_gets_everything(type_url: str) -> None:
    got = world().delta().get(type_url)
    assert got.names == ["a", "b"]
    assert got.removed == []


@pytest.mark.parametrize("type_url", TYPES)
def test_d02_a_star_gets_everything(type_url: str) -> None:
    assert world().delta().get(type_url, ["*"]).names == ["a", "b"]


def test_d03_acknowledgements_are_not_answered() -> None:
    client = world().delta()
    for type_url in TYPES:
        client.get(type_url, ["a"] if type_url in NAMED else [])
    assert client.quiet()


def test_d04_both_variants_carry_the_same_bytes() -> None:
    w = world()
    assert w.delta().get(CDS).contents == w.sotw().get(CDS).contents


@pytest.mark.parametrize("type_url", NAMED)
def test_d05_every_name_is_delivered(type_url: str) -> None:
    assert world().delta().get(type_url, ["b", "a"]).names == ["a", "b"]


@pytest.mark.parametrize("type_url", TYPES)
def test_d06_a_name_that_does_not_exist_is_said_to_be_removed(type_url: str) -> None:
    client = world().delta()
    client.ask(type_url, ["nope", "a"])
    got = client.one(type_url)
    assert got.names == ["a"]
    assert got.removed == ["nope"]
    client.ack(got)
    assert client.quiet()


def test_d06_5_sds_a_secret_that_does_not_exist_is_never_said_to_be_removed() -> None:
    """Envoy refuses the removal of a secret: "Missing SDS resources" (envoy#32832)."""
    client = world().delta()
    client.ask(SDS, ["nope"])
    assert client.quiet()


def test_d07_a_name_added_later_comes_alone() -> None:
    client = world().delta()
    client.get(EDS, ["a"])
    assert client.get(EDS, ["b"]).names == ["b"]


@pytest.mark.parametrize("type_url", [*TYPES, SDS])
def test_d08_a_name_subscribed_again_is_sent_again(type_url: str) -> None:
    client = world().delta()
    client.get(type_url, ["a"])
    assert client.get(type_url, ["a"]).names == ["a"]


@pytest.mark.parametrize("type_url", NAMED)
def test_d09_a_name_taken_back_and_subscribed_again_is_sent_again(type_url: str) -> None:
    client = world().delta()
    client.get(type_url, ["a", "b"])
    client.ask(type_url, drop=["b"])
    assert client.quiet()
    assert client.get(type_url, ["b"]).names == ["b"]


def test_d10_taking_back_what_was_never_subscribed_is_ignored() -> None:
    client = world().delta()
    client.get(EDS, ["a"])
    client.ask(EDS, drop=["never"])
    assert client.quiet()


def test_d11_a_name_taken_back_that_the_wildcard_still_covers_is_sent() -> None:
    client = world().delta()
    client.get(CDS, ["*"])
    client.get(CDS, ["a"])
    client.ask(CDS, drop=["a"])
    assert client.one(CDS).names == ["a"]


def test_d12_a_name_taken_back_that_does_not_exist_is_said_to_be_removed() -> None:
    client = world().delta()
    client.get(CDS, ["*"])
    assert client.get(CDS, ["nope"]).removed == ["nope"]
    client.ask(CDS, drop=["nope"])
    got = client.one(CDS)
    assert got.names == []
    assert got.removed == ["nope"]


def test_d13_the_wildcard_taken_back_and_subscribed_again_brings_all_others() -> None:
    client = world().delta()
    client.get(CDS, ["*"])
    client.get(CDS, ["a"])
    client.ask(CDS, drop=["*"])
    assert client.quiet()
    client.ask(CDS, ["*"])
    got = client.one(CDS)
    assert "b" in got.names
    assert got.removed == []


def test_d13_the_wildcard_subscribed_twice_brings_everything_again() -> None:
    client = world().delta()
    client.get(CDS, ["*"])
    assert client.get(CDS, ["*"]).names == ["a", "b"]


def test_d14_the_legacy_wildcard_survives_names() -> None:
    client = world().delta()
    client.get(CDS)
    client.get(CDS, ["a"])
    client.ask(CDS, drop=["a"])
    assert client.one(CDS).names == ["a"]


def test_d15_an_empty_request_that_is_not_the_first_is_no_wildcard() -> None:
    client = world().delta()
    client.get(CDS, ["a"])
    client.ask(CDS, drop=["a"])
    client.ask(CDS)
    assert client.quiet()


@pytest.mark.parametrize("type_url", TYPES)
def test_d16_a_refused_resource_is_not_sent_again(type_url: str) -> None:
    client = World(resource(type_url, "a")).delta()
    client.ask(type_url, ["a"])
    got = client.one(type_url)
    client.nack(got)
    assert client.quiet()
    client.nack(got)
    assert client.quiet()


def test_d16_a_refused_removal_is_not_sent_again() -> None:
    w = world()
    client = w.delta()
    client.get(CDS)
    w.publish(resource(CDS, "a"))
    gone = client.one(CDS)
    assert gone.removed == ["b"]
    client.nack(gone)
    assert client.quiet()
    w.publish(resource(CDS, "a"), resource(CDS, "b"))
    assert client.one(CDS).names == ["b"]


def test_d16_what_does_not_exist_is_said_once_though_it_is_refused() -> None:
    client = world().delta()
    client.ask(EDS, ["nope"])
    client.nack(client.one(EDS))
    assert client.quiet()


def test_d16_what_is_accepted_in_a_second_response_is_not_held_to_be_refused() -> None:
    client = world().delta()
    client.ask(EDS, ["a"])
    client.ask(EDS, ["a"])
    first, second = client.take(EDS)
    client.nack(first)
    client.ack(second)
    status = {s.type_url: s for s in client.session.status()}[EDS]
    assert (status.state, status.refused) == (State.SYNCED, ())


def test_d17_after_a_refusal_other_names_are_delivered() -> None:
    client = world().delta()
    client.ask(EDS, ["a"])
    client.nack(client.one(EDS))
    assert client.get(EDS, ["b"]).names == ["b"]
    client.ask(EDS, ["a"])
    assert client.one(EDS).names == ["a"]


@pytest.mark.parametrize("nonce", ["bogus", "0"])
def test_d18_a_subscription_with_a_stale_nonce_counts(nonce: str) -> None:
    client = world().delta()
    client.get(EDS, ["a"])
    client.ask(EDS, ["b"], nonce=nonce)
    assert client.one(EDS).names == ["b"]


@pytest.mark.parametrize("type_url", WILDCARD)
def test_d19_what_a_reconnecting_client_has_is_not_sent_again(type_url: str) -> None:
    client = world().delta()
    client.ask(type_url, versions={"a": "a-1", "b": "b-1"})
    client.wait(20)
    for got in client.take():
        assert got.names == []
        assert got.removed == []


def test_d20_outdated_resources_are_sent_and_vanished_ones_removed() -> None:
    client = world().delta()
    client.ask(LDS, versions={"a": "a-0", "b": "b-1", "gone": "gone-1"})
    got = client.one(LDS)
    assert got.names == ["a"]
    assert got.removed == ["gone"]


def test_d20_a_vanished_cluster_is_removed_once_no_route_can_use_it() -> None:
    """The client may still have a route to it, so it goes after the listeners and routes were accepted."""
    client = world().delta()
    client.ask(CDS, versions={"a": "a-0", "b": "b-1", "gone": "gone-1"})
    got = client.one(CDS)
    assert got.names == ["a"]
    assert got.removed == []
    client.ack(got)
    client.ask(LDS, versions={"a": "a-1", "b": "b-1"})
    client.ask(RDS, ["a", "b"], versions={"a": "a-0", "b": "b-0"})
    listeners, routes = client.one(LDS), client.one(RDS)
    client.ack(listeners)
    assert client.quiet()
    client.ack(routes)
    assert client.one(CDS).removed == ["gone"]


def test_d20_a_vanished_cluster_is_removed_after_a_while_if_the_client_never_asks_for_routes() -> None:
    client = world().delta()
    client.ask(CDS, versions={"gone": "gone-1"})
    client.ack(client.one(CDS))
    assert client.quiet()
    client.wait(20)
    assert client.one(CDS).removed == ["gone"]


@pytest.mark.parametrize("type_url", [*NAMED, SDS])
def test_d21_named_resources_are_sent_again_on_reconnect(type_url: str) -> None:
    """Skipping them led to 503: the client may be waiting for them (envoy#22418)."""
    client = world().delta()
    client.ask(type_url, ["a"], versions={"a": "a-1"})
    assert client.one(type_url).names == ["a"]


def test_d22_outdated_named_resources_are_sent_on_reconnect() -> None:
    client = world().delta()
    client.ask(EDS, ["a"], versions={"a": "a-0"})
    assert client.one(EDS).names == ["a"]


def test_d23_equal_content_has_equal_versions_on_every_stream() -> None:
    one, other = world().delta(), world().delta()
    assert one.get(CDS).version == other.get(CDS).version


def test_d24_odd_requests_do_no_harm() -> None:
    client = world().delta()
    assert client.get(EDS, ["a", "a"]).names == ["a"]
    client.ask(EDS, ["b"], ["b"])
    client.take()
    assert client.get(EDS, ["b"]).names == ["b"]


def test_d25_a_star_subscribed_and_taken_back_at_once_is_no_subscription() -> None:
    client = world().delta()
    client.ask(CDS, ["*"], ["*"])
    assert client.quiet()
    client.world.publish(resource(CDS, "new"))
    assert client.quiet()


@pytest.mark.parametrize("type_url", [VHDS, ECDS, SRDS, LEDS, RTDS, "nonsense"])
def test_d26_5_ecds_5_rtds_5_vhds_types_that_are_not_served_are_ignored(type_url: str) -> None:
    client = world().delta()
    client.ask(type_url, ["x"])
    client.ask(type_url, drop=["x"], nonce="5", error="no")
    assert client.quiet()
    assert client.get(CDS).names == ["a", "b"]


def test_d27_an_acknowledgement_may_subscribe() -> None:
    client = world().delta()
    client.ask(EDS, ["a"])
    client.ack(client.one(EDS), add=["b"])
    assert client.one(EDS).names == ["b"]


def test_d28_all_types_at_once_with_one_node() -> None:
    client = world().delta()
    for type_url in TYPES:
        client.ask(type_url, ["a"])
    assert {got.type_url for got in client.take()} == set(TYPES)


def test_d29_a_name_is_answered_before_the_last_one_is_acknowledged() -> None:
    client = world().delta()
    client.ask(EDS, ["a"])
    client.take()
    client.ask(EDS, ["b"])
    assert client.one(EDS).names == ["b"]


def test_d30_5_odcds_a_cluster_on_demand_comes_alone_and_is_kept_up_to_date() -> None:
    w = World(cluster("a"), cluster("b"), assignment("a"), assignment("b"))
    client = w.delta()
    assert client.get(CDS, ["a"]).names == ["a"]
    w.publish(cluster("a", "2"), cluster("b", "2"), assignment("a"), assignment("b"))
    assert client.one(CDS).contents == {"a": "2"}


def test_d30_5_odcds_a_cluster_on_demand_is_pushed_when_it_appears() -> None:
    """Envoy stays subscribed after the removal and does not ask again (envoy#47201)."""
    w = World(cluster("z"))
    client = w.delta()
    assert client.get(CDS, ["late"]).removed == ["late"]
    w.publish(cluster("z"), cluster("late"), assignment("late"), assignment("z"))
    assert client.one(CDS).names == ["late"]


def test_d30_5_odcds_a_cluster_that_shares_its_endpoints_gets_them_though_nobody_asks() -> None:
    """Envoy does not subscribe again to a name that it knows already (envoy#47302)."""
    new = resource(CDS, "new", references=[(EDS, "a")])
    w = World(cluster("a"), assignment("a"))
    client = w.delta()
    client.get(CDS, ["a", "new"])
    client.get(EDS, ["a"])
    w.publish(cluster("a"), assignment("a"), new)
    assert [(got.type_url, got.names) for got in client.take()] == [(CDS, ["new"]), (EDS, ["a"])]


def test_x09_names_of_the_xdstp_form_are_names_like_others() -> None:
    """Nothing here has such a name, so they do not exist, under the very name that was asked for; a glob neither."""
    names = ["xdstp://here/envoy.config.cluster.v3.Cluster/a?b=1&a=2", "xdstp://here/envoy.config.cluster.v3.Cluster/*"]
    client = world().delta()
    client.ask(CDS, [*names, "a"])
    got = client.one(CDS)
    assert (got.names, sorted(got.removed)) == (["a"], sorted(names))
    client.ack(got)
    client.ask(CDS, drop=names)
    assert client.quiet()


def test_d31_5_vhds_an_empty_request_for_virtual_hosts_is_no_wish_for_everything() -> None:
    client = world().delta()
    client.ask(VHDS)
    assert client.quiet()
