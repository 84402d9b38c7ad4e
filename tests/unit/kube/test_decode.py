from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.kube.given import (
    DESTINATION_RULE,
    GATEWAY,
    SERVICE,
    SERVICE_ENTRY,
    VIRTUAL_SERVICE,
    decoded,
    raw,
    told,
)
from xds_server.catalogue import Level
from xds_server.kube.core import Secret, Service
from xds_server.kube.decode import convert, decode
from xds_server.kube.explain import Explanation
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.virtual_service import VirtualService, VirtualServiceSpec
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Ignored
from xds_server.kube.pod import Pod
from xds_server.kube.units import Duration

VS_HTTP = "spec: {hosts: [a], http: [{%s, route: [{destination: {host: h}}]}]}"

MISTAKES = {
    "an unknown field, with the one that was meant": (
        VIRTUAL_SERVICE,
        VS_HTTP % "timeOut: 3s",
        ["XDS1004 spec.http[0].timeOut: unknown field 'timeOut' (did you mean \"timeout\"?)"],
    ),
    "a line break where no request can have one": (
        VIRTUAL_SERVICE,
        VS_HTTP % 'rewrite: {uri: "/a\\nb"}, directResponse: {status: 200, body: {string: "two\\nlines"}}',
        [
            "XDS1005 spec.http[0].rewrite.uri: the text has a line break or a NUL character, which no part of a "
            "request can have"
        ],
    ),
    "an unknown field that is like no other": (
        SERVICE,
        "spec: {ports: [{port: 80}], zzz: 1}",
        ["XDS1004 spec.zzz: unknown field 'zzz'"],
    ),
    "a number written as text": (
        VIRTUAL_SERVICE,
        VS_HTTP % 'retries: {attempts: "3"}',
        [
            'XDS1005 spec.http[0].retries.attempts: "3" is not a whole number from 0 to 2147483647 '
            "(write it without quotes)"
        ],
    ),
    "a boolean where text is expected": (
        DESTINATION_RULE,
        "spec: {host: h, subsets: [{name: v1, labels: {canary: yes}}]}",
        ['XDS1005 spec.subsets[0].labels.canary: true is not a string (write it in quotes, as in "true")'],
    ),
    "a bad duration": (
        VIRTUAL_SERVICE,
        VS_HTTP % "timeout: 3 seconds",
        ["XDS1005 spec.http[0].timeout: '3 seconds' is not a duration such as 10s, 1.5s, 250ms or 1h30m"],
    ),
    "a number where a duration is expected": (
        VIRTUAL_SERVICE,
        VS_HTTP % "timeout: 3",
        ["XDS1005 spec.http[0].timeout: 3 is not a duration such as 10s or 1m30s"],
    ),
    "a duration below the CRD's one millisecond": (
        VIRTUAL_SERVICE,
        VS_HTTP % "timeout: 0s",
        ["XDS1005 spec.http[0].timeout: '0s' is shorter than 1ms"],
    ),
    "a value that is not allowed, with the nearest": (
        DESTINATION_RULE,
        "spec: {host: h, trafficPolicy: {loadBalancer: {simple: ROUND_ROBBIN}}}",
        [
            'XDS1005 spec.trafficPolicy.loadBalancer.simple: "ROUND_ROBBIN" is not one of LEAST_CONN, LEAST_REQUEST, '
            'PASSTHROUGH, RANDOM, ROUND_ROBIN, UNSPECIFIED (did you mean "ROUND_ROBIN"?)'
        ],
    ),
    "a port that cannot be": (
        VIRTUAL_SERVICE,
        "spec: {http: [{route: [{destination: {host: h, port: {number: 70000}}}]}]}",
        ["XDS1005 spec.http[0].route[0].destination.port.number: 70000 is not a whole number from 1 to 65535"],
    ),
    "two of several that exclude each other": (
        VIRTUAL_SERVICE,
        VS_HTTP % "match: [{uri: {exact: /a, regex: b}}]",
        ["XDS1005 spec.http[0].match[0].uri.regex: only one of exact and regex can be set"],
    ),
    "a required field": (
        DESTINATION_RULE,
        "spec: {}",
        ["XDS1005 spec.host: the required field host is missing (add host)"],
    ),
    "an empty text where one is required": (
        DESTINATION_RULE,
        'spec: {host: ""}',
        ["XDS1005 spec.host: the text is empty"],
    ),
    "a list where a mapping is expected": (
        GATEWAY,
        "spec: {selector: [a]}",
        ["XDS1005 spec.selector: a list is not a mapping"],
    ),
    "a mapping where a list is expected": (
        GATEWAY,
        "spec: {servers: {a: b}}",
        ["XDS1005 spec.servers: a mapping is not a list"],
    ),
    "text where a mapping is expected": (GATEWAY, "spec: servers", ['XDS1005 spec: "servers" is not a mapping']),
    "a null in a custom resource": (
        VIRTUAL_SERVICE,
        VS_HTTP % "match: [{headers: {user: {exact: null}}}]",
        [
            "XDS1005 spec.http[0].match[0].headers.user.exact: the field is null "
            "(give it a value, or leave the whole field out)"
        ],
    ),
    "a null match of a header": (
        VIRTUAL_SERVICE,
        VS_HTTP % "match: [{headers: {user: }}]",
        ["XDS1005 spec.http[0].match[0].headers.user: null is not a mapping"],
    ),
    "a value of a map in a core kind that is null": (
        SERVICE,
        "spec: {selector: {app: }}",
        ["XDS1005 spec.selector.app: null is not a string"],
    ),
    "an empty list where one item is required": (
        SERVICE_ENTRY,
        "spec: {hosts: []}",
        ["XDS1005 spec.hosts: the list needs at least 1 items"],
    ),
    "rules between fields, all that are broken": (
        SERVICE_ENTRY,
        "spec: {hosts: ['*'], addresses: [10.0.0.0/8], resolution: DNS, "
        "ports: [{number: 1, name: a}, {number: 1, name: b}]}",
        [
            "XDS1005 spec.hosts: a host cannot be * alone",
            "XDS1005 spec.addresses: a CIDR is allowed only with resolution NONE or STATIC",
            "XDS1005 spec.ports: two ports have the same number",
        ],
    ),
    "hosts that are no names": (
        SERVICE_ENTRY,
        "spec: {hosts: [a.com, 'a b', '*.example.com', 'a.*.com'], addresses: [10.0.0.1]}",
        [
            "XDS1005 spec.hosts[1]: a host is a DNS name, perhaps with *. before it",
            "XDS1005 spec.hosts[3]: a host is a DNS name, perhaps with *. before it",
        ],
    ),
    "several ports of which one has no name": (
        SERVICE,
        "spec: {ports: [{port: 80}, {name: b, port: 81}]}",
        ["XDS1005 spec.ports: each of several ports needs a name"],
    ),
    "an ExternalName without a name": (
        SERVICE,
        "spec: {type: ExternalName}",
        ["XDS1005 spec: an ExternalName needs externalName"],
    ),
}


@pytest.mark.parametrize(("kind", "body", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_field_and_a_way_out(kind: str, body: str, expected: list[str]) -> None:
    result = decoded(kind, body)
    assert result.object is None
    assert [told(diagnostic) for diagnostic in result.diagnostics] == expected


def test_all_mistakes_of_a_document_are_told() -> None:
    result = decode(
        raw(
            """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: Not_a_name}
            spec:
              hossts: [b]
              http:
              - retries: {attempts: "3"}
                match: [{uri: {exact: a, prefix: b}}]
                route: [{destination: {subset: v1}, weight: -1}]
            """
        )
    )
    assert [(diagnostic.code, diagnostic.path) for diagnostic in result.diagnostics] == [
        ("XDS1004", ("spec", "hossts")),
        ("XDS1005", ("spec", "http", 0, "retries", "attempts")),
        ("XDS1005", ("spec", "http", 0, "match", 0, "uri", "prefix")),
        ("XDS1005", ("spec", "http", 0, "route", 0, "destination", "host")),
        ("XDS1005", ("spec", "http", 0, "route", 0, "weight")),
        ("XDS1005", ("metadata", "name")),
    ]


ACCEPTED = {
    "nulls in a core kind mean absent": (
        SERVICE,
        "spec: {ports: [{port: 80, name: null}], selector: null}\nstatus: null",
    ),
    "nulls that the CRD allows mean absent": (
        VIRTUAL_SERVICE,
        VS_HTTP % "retries: {attempts: 1, retryRemoteLocalities: null}, corsPolicy: {allowCredentials: null}",
    ),
    "a header match without a value": (VIRTUAL_SERVICE, VS_HTTP % "match: [{headers: {user: {}}}]"),
    "a session cookie": (
        DESTINATION_RULE,
        "spec: {host: h, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}}}}}",
    ),
    "a whole number written as 1e1": (
        VIRTUAL_SERVICE,
        "spec: {http: [{route: [{destination: {host: h}, weight: 1e1}]}]}",
    ),
    "a status of any form": (GATEWAY, "spec: {servers: []}\nstatus: {conditions: [{a: b}]}"),
    "a target port by name": (SERVICE, "spec: {ports: [{port: 80, targetPort: web}]}"),
}


@pytest.mark.parametrize(("kind", "body"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_kubernetes_accepts_is_accepted(kind: str, body: str) -> None:
    result = decoded(kind, body)
    assert result.object is not None, result.diagnostics
    assert result.diagnostics == ()


def test_metadata_that_tools_write_is_accepted_in_every_kind() -> None:
    result = decode(
        raw(
            """
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: x, creationTimestamp: null, labels: null, managedFields: [{manager: kubectl}]}
            """
        )
    )
    assert result.object is not None


def test_values_keep_their_types() -> None:
    result = decoded(
        VIRTUAL_SERVICE, VS_HTTP % "timeout: 1m30s, fault: {delay: {fixedDelay: 1s, percentage: {value: 5}}}"
    )
    assert isinstance(result.object, VirtualService)
    route = result.object.spec.http[0]
    assert route.timeout == Duration(90 * 10**9)
    assert route.fault is not None
    assert route.fault.delay is not None
    assert route.fault.delay.percentage is not None
    assert route.fault.delay.percentage.value == 5.0


def test_an_object_says_which_it_is() -> None:
    result = decoded(DESTINATION_RULE, "spec: {host: h}")
    assert isinstance(result.object, DestinationRule)
    assert str(result.object.ref) == "DestinationRule/default/x"


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_served_version_of_istio_is_read(version: str) -> None:
    assert decoded(f"networking.istio.io/{version} VirtualService").object is not None


@pytest.mark.parametrize("kind", ["networking.istio.io/v2 VirtualService", "v2 Service", "apps/v1 Deployment"])
def test_another_kind_or_version_is_information(kind: str) -> None:
    result = decoded(kind)
    assert result.object is None
    assert [(found.code, found.level) for found in result.diagnostics] == [("XDS1006", Level.INFO)]


NAMES = {
    "a service name with a dot": ("v1", "Service", "{name: a.b}", ("metadata", "name")),
    "a name with upper case": ("v1", "Pod", "{name: Web}", ("metadata", "name")),
    "a name that ends in a dash": ("v1", "Secret", "{name: a-}", ("metadata", "name")),
    "a name of 254 characters": ("v1", "Pod", "{name: %s}" % ("a" * 254), ("metadata", "name")),
    "a namespace with a dot": ("v1", "Pod", "{name: a, namespace: b.c}", ("metadata", "namespace")),
    "a node in a namespace": ("v1", "Node", "{name: a, namespace: b}", ("metadata", "namespace")),
}


@pytest.mark.parametrize(("version", "kind", "metadata", "path"), NAMES.values(), ids=NAMES)
def test_a_name_that_kubernetes_refuses_is_refused(
    version: str, kind: str, metadata: str, path: tuple[str, ...]
) -> None:
    result = decode(raw(f"{{apiVersion: {version}, kind: {kind}, metadata: {metadata}}}"))
    assert result.object is None
    assert [found.path for found in result.diagnostics] == [path]


def test_secrets_are_decoded_and_never_shown() -> None:
    good = decoded("v1 Secret", "data: {a: aGVsbG8=}\nstringData: {b: plain, a: wins}").object
    assert isinstance(good, Secret)
    assert (good.content("a"), good.content("b"), good.content("c")) == (b"wins", b"plain", None)
    assert "hello" not in repr(good)
    assert "plain" not in repr(good)
    bad = decoded("v1 Secret", "data: {a: 'top-secret!', b: 123456}\nstringData: {c: 987654}\ntype: 5")
    assert len(bad.diagnostics) == 4
    shown = " ".join(told(found) for found in bad.diagnostics)
    assert not any(value in shown for value in ("top-secret", "123456", "987654"))


def test_what_says_nothing_about_traffic_is_not_kept() -> None:
    pod = decoded("v1 Pod", "spec: {containers: [{name: a, env: [{name: A, value: b}]}], volumes: [{name: v}]}").object
    assert isinstance(pod, Pod)
    assert isinstance(pod.spec.volumes, Ignored)
    assert isinstance(pod.spec.containers[0].env, Ignored)


def test_a_pod_is_ready_when_its_condition_says_so() -> None:
    for status, ready in (("True", True), ("False", False), ("Unknown", False)):
        pod = decoded("v1 Pod", f"status: {{conditions: [{{type: Ready, status: '{status}'}}]}}").object
        assert isinstance(pod, Pod)
        assert pod.ready is ready


def test_the_same_content_has_the_same_digest_wherever_it_stands() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
    assert raw(text).digest == raw("# moved down\n\n" + text).digest
    assert raw(text).digest != raw(text + "spec: {type: NodePort}").digest


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70000)
    | st.floats(0, 200)
    | st.sampled_from(["", "a", "3", "10s", "v1"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                "hosts http match uri exact prefix route destination host weight retries attempts timeout tls x".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(JSON)
def test_mistakes_are_explained_exactly_when_decoding_fails(value: Any) -> None:
    explanation = Explanation(convert, null_is_absent=False, secret=False)
    clean = explanation.value(value, msgspec.inspect.type_info(VirtualServiceSpec))
    try:
        convert(value, VirtualServiceSpec)
    except msgspec.ValidationError:
        assert explanation.mistakes
    else:
        assert not explanation.mistakes
        assert clean == value


def test_the_table_of_kinds_names_each_kind_as_its_class_does() -> None:
    assert {key: (kind.type.GROUP, kind.type.KIND) for key, kind in KINDS.items()} == {key: key for key in KINDS}
    assert KINDS["", "Service"].type is Service
