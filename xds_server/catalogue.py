"""The catalogue of diagnostics: one line a code. Numbers are never used again for something else.

1xxx reading and schema, 2xxx references, 3xxx conflicts and shadowing, 4xxx routing semantics, 5xxx TLS and
secrets, 6xxx security, 7xxx rejected by Envoy, 8xxx scale. `twins` are the codes of Istio's analyzers (IST)
and Kiali (KIA) for the same mistake.
"""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(msgspec.Struct, frozen=True):
    """level; template: the message, formatted with the values given; effect: what happens to the traffic."""

    level: Level
    template: str
    effect: str = ""
    twins: tuple[str, ...] = ()


_E, _W, _I = Level.ERROR, Level.WARNING, Level.INFO
_LEFT_OUT = "the object is left out, or keeps its last good form if it had one; everything else goes on"

CATALOGUE: dict[str, Code] = {
    # 1xxx: reading and schema
    "XDS1001": Code(_E, "{detail}", "the document is left out; objects that the file defined before stay as they were"),
    "XDS1002": Code(_E, "{detail}", "the file is left out; its objects keep their last good form"),
    "XDS1003": Code(_E, "the key {key!r} appears twice in one mapping, first at {first}", _LEFT_OUT),
    "XDS1004": Code(_E, "unknown field {field!r}", _LEFT_OUT, ("IST0106",)),
    "XDS1005": Code(_E, "{detail}", _LEFT_OUT, ("IST0106",)),
    "XDS1006": Code(_I, "{kind} ({api_version}) is not a kind that this server reads", "the objects are ignored"),
    "XDS1007": Code(_W, "{field} is not supported", "the field has no effect"),
    "XDS1008": Code(_E, "the object is defined already in {first}", "the first definition counts"),
    "XDS1009": Code(_I, "no objects were found in {source}", "proxies get an empty configuration"),
    "XDS1010": Code(
        _E, "an internal error while translating: {detail}", "the object is left out; please report this bug"
    ),
    "XDS1011": Code(_W, "the file is empty now", "its objects stay as they were until the file is deleted"),
    "XDS1012": Code(_I, "{field} is for {whose}", "nothing that a proxy gets depends on it"),
    "XDS1013": Code(_I, "{kind} has a field that this version does not know: {field}", "the field has no effect"),
    "XDS1014": Code(_I, "{field} of the mesh's settings is not used here", "nothing that a proxy gets depends on it"),
    # 2xxx: references
    "XDS2001": Code(_E, "there is no service {host!r}", "requests to it are answered 503", ("IST0101", "KIA1101")),
    "XDS2002": Code(_E, "{host} has no port {port}; it has: {ports}", "requests to it are answered 503", ("KIA1103",)),
    "XDS2003": Code(
        _E,
        "subset {subset!r} of {host} is not defined; {defined}",
        "requests to it are answered 503",
        ("IST0101", "KIA1107"),
    ),
    "XDS2004": Code(
        _E, "there is no Gateway {gateway!r}; known: {known}", "its routes are not served there", ("IST0101", "KIA1102")
    ),
    "XDS2005": Code(_E, "{pod} has no container port named {port!r}", "the Pod gets no requests on this port"),
    "XDS2006": Code(_I, "the Pod has no address yet, and {service} selects it", "the Pod gets no requests"),
    "XDS2007": Code(
        _E,
        "{host} has the ports {ports}, so the destination must say which; {port} is assumed",
        "requests to it are answered 503",
        ("IST0112",),
    ),
    "XDS2009": Code(
        _W, "no Pod says which number the port {port!r} of this workload has", "the sidecar does not serve the port"
    ),
    "XDS2010": Code(
        _W,
        "nothing that this workload may see is called {host}; a service's name is written in full here",
        "nothing is let through by it",
        ("KIA1004",),
    ),
    "XDS2030": Code(_E, "{address!r} is not {wanted}", "the endpoint is left out"),
    "XDS2031": Code(
        _W,
        "another EndpointSlice of the service has IP addresses, beside which DNS names cannot be used",
        "the endpoints of this slice are left out",
    ),
    "XDS2032": Code(_E, "there is no WorkloadGroup {group}", "the WorkloadEntry stands for itself"),
    "XDS2034": Code(
        _W, "no Pod and no WorkloadEntry has these labels", "requests to the hosts are answered 503", ("IST0127",)
    ),
    "XDS2035": Code(
        _E,
        "{host} cannot be resolved, as resolution {resolution} asks: it stands for many names; list endpoints",
        "requests to it are answered 503",
    ),
    "XDS2036": Code(_W, "the endpoint has no address, but only a network", "it gets no requests"),
    "XDS2008": Code(
        _W, "the VirtualService has no hosts, and none delegates to it by its name", "none of its routes is used"
    ),
    "XDS2037": Code(_E, "{address!r} is not {wanted}", "the service cannot be reached by it; all else works"),
    "XDS2038": Code(
        _W, "there are {count} endpoints, and DNS_ROUND_ROBIN resolves one name", "all are resolved, as with DNS"
    ),
    # 3xxx: conflicts and shadowing
    "XDS3001": Code(_W, "{first} already sets the trafficPolicy of {host}", "this one has no effect"),
    "XDS3002": Code(_W, "{first} already defines the subset {subset!r}", "this one has no effect"),
    "XDS3003": Code(
        _W, "no request can reach this route: {first} before it takes all of them", "", ("IST0130", "IST0131")
    ),
    "XDS3005": Code(
        _W,
        "{first} already has {where} for connections that are not HTTP",
        "this service cannot be reached there from such a sidecar",
    ),
    "XDS3006": Code(
        _E,
        "port {port} is already used for {used}, with which it cannot be shared",
        "the server is left out",
        ("IST0145",),
    ),
    "XDS3007": Code(_W, "the host {host} is already that of {first}", "clients of other namespaces reach the first"),
    "XDS3008": Code(
        _E,
        "the TLS host {host!r} is already served by {first}",
        "it is served by the first only",
        ("IST0145", "KIA0301"),
    ),
    "XDS3010": Code(
        _W, "no connection can reach this route: {first} takes all of them", "it has no effect", ("IST0130",)
    ),
    "XDS3009": Code(
        _I,
        "{first} already has {where} for connections that are not HTTP",
        "this service can be reached there by HTTP only; name its port tcp-... or http-...",
    ),
    "XDS3011": Code(_E, "{first} already selects the same workloads", "this one has no effect", ("IST0110", "IST0111")),
    "XDS3012": Code(
        _W, "{first} says that port {port} of the workload speaks another protocol", "the oldest Service counts"
    ),
    "XDS3013": Code(_E, "{where} is already used for {first}", "this cannot be reached there from such a sidecar"),
    "XDS3014": Code(
        _W, "connections for {what} that come to {where} already go where {first} says", "it does not get them"
    ),
    "XDS3030": Code(_E, "the externalName leads back to itself: {loop}", "the service is left out"),
    "XDS3031": Code(_W, "the address {address} is already that of {first}", "it leads to the first"),
    # 4xxx: routing semantics
    "XDS4001": Code(_I, "port {port} is not TCP", "nothing is routed to it"),
    "XDS4002": Code(_I, "the Service has no ports", "nothing can be routed to it"),
    "XDS4003": Code(
        _E, "{protocol!r} is not a protocol that can be proxied", "a server is left out, a port is taken as TCP"
    ),
    "XDS4004": Code(
        _E,
        "{value!r} {reason}",
        "the match is left out; requests it was meant for fall to the next route",
        ("IST0122",),
    ),
    "XDS4005": Code(_E, "the route cannot be used: {detail}", "requests that match it are answered 500"),
    "XDS4007": Code(_W, "{gateway} does not serve the host {host!r}", "the host is not served there", ("IST0132",)),
    "XDS4009": Code(_W, "{field} has no effect {reason}"),
    "XDS4010": Code(
        _E,
        "matching on claims of a token is not supported",
        "the match is left out; requests it was meant for fall to the next route",
        ("IST0149",),
    ),
    "XDS4011": Code(_E, "{value!r} {reason}", "the value is left out; the rest of the route works"),
    "XDS4012": Code(_W, "port {port} is below 1024, which an unprivileged proxy cannot bind", "it is left out"),
    "XDS4014": Code(_W, "{field} is not supported by gRPC clients without a proxy", "they use their default"),
    "XDS4015": Code(
        _W,
        "port {port} is TCP, and the service has no address by which redirected connections can be told apart",
        "connections to it pass through without its policies; give it a clusterIP or addresses",
    ),
    "XDS4016": Code(
        _E, "an ingress listener that opens its own port needs a defaultEndpoint", "the listener is left out"
    ),
    "XDS4021": Code(_I, "the weights add up to {total}, not to 100", "they are taken in proportion"),
    "XDS4022": Code(
        _E,
        "the delegate {delegate} {problem}",
        "requests that match it are answered 500",
        ("IST0101",),
    ),
    "XDS4023": Code(
        _E,
        "the match of the delegate contradicts the one in {root}: {detail}",
        "no request can have both, so the route is left out",
    ),
    "XDS4024": Code(
        _I,
        "localityLbSetting asks for failover without outlierDetection, by which a proxy notices that it must",
        "endpoints are out for 30 s after 5 gateway errors in a row",
    ),
    "XDS4030": Code(
        _I,
        "timeoutSeconds is not kept: a client stays with its endpoint as long as that is there",
        "requests are hashed by the address that they come from",
    ),
    "XDS4031": Code(
        _I,
        "the proxy does not say on which node it runs (NODE_NAME), which {field} asks for",
        "it uses the endpoints of all nodes",
    ),
    "XDS4032": Code(
        _I, "{annotations} configure the cloud's load balancer", "nothing that a proxy gets depends on them"
    ),
    "XDS4033": Code(_E, "{value!r} is not one of {known}", "the field has no effect"),
    "XDS4034": Code(
        _W,
        "connections to {host} cannot go on to where they wanted to go (resolution NONE): the proxy intercepts none",
        "this proxy resolves the host by DNS",
    ),
    "XDS4035": Code(
        _W,
        "connections to {host} cannot go on to where they wanted to go (resolution NONE): the proxy intercepts none",
        "this proxy answers requests to it with 503",
    ),
    "XDS4036": Code(
        _I, "{target} has no port {port}; it has: {ports}", "an alias has the ports of the service that it leads to"
    ),
    "XDS4037": Code(
        _W, "{host} is only another name of {target}, whose routes and policies count", "this has no effect on it"
    ),
    "XDS4025": Code(_W, "no route of a VirtualService takes the connections of this server", "they are refused"),
    # 5xxx: TLS and secrets
    "XDS5001": Code(_E, "there is no Secret {secret}", "the server is left out until there is", ("IST0161",)),
    "XDS5002": Code(_E, "{secret} cannot be used: {problem}", "the server is left out until it can", ("IST0161",)),
    "XDS5003": Code(_E, "the server ends TLS but names no credentialName", "the server is left out"),
    "XDS5004": Code(_E, "the TLS mode {mode} is not supported", "no TLS settings are used; a server is left out"),
    "XDS5005": Code(_E, "minProtocolVersion {minimum} is above maxProtocolVersion {maximum}", "the server is left out"),
    "XDS5006": Code(_E, "{value!r} {reason}", "it is left out; without any other the server is left out"),
    "XDS5008": Code(
        _I,
        "a sidecar is given Secrets only by a DestinationRule that selects it with workloadSelector",
        "sidecars use the certificates in files, if any are named, and the authorities of their system",
    ),
    "XDS5009": Code(
        _E, "the mode MUTUAL needs clientCertificate and privateKey, or credentialName", "no certificate is shown"
    ),
    "XDS5010": Code(
        _E, "the mode {mode} checks clients' certificates, but names no authorities", "the server is left out"
    ),
    "XDS5011": Code(
        _W, "QUIC needs TLS 1.3, and maxProtocolVersion is {maximum}", "the server is served over TCP alone"
    ),
    # 6xxx: security
    "XDS6001": Code(_E, "externalName {name!r} is refused: {reason}", "the service is left out"),
    "XDS6002": Code(
        _E, "the address {address} is refused: {reason}", "the service cannot be reached by it; all else works"
    ),
    # 7xxx: rejected by Envoy
    "XDS7001": Code(
        _E,
        "{proxy} refused {type} {name!r}: {words}",
        "the proxies keep the last version that they accepted; everything else is delivered",
    ),
    "XDS7002": Code(
        _W, "{proxy} refused a {type} response, and no resource in it can be blamed: {words}", "nothing is sent again"
    ),
    "XDS7003": Code(
        _W,
        "the sources could not be read or translated since the start",
        "the proxies get what they got before the server was restarted",
    ),
    # 8xxx: scale
    "XDS8001": Code(_W, "no address in {network} is free any more", "the host is told apart by its name only"),
}
