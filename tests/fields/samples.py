"""Values for fields, and what must stand beside them."""

from __future__ import annotations

from typing import Any

_DURATION = r"(\w*[tT]imeout|\w*[iI]nterval|\w*[dD]uration\w*|.*[tT]ime|maxAge|ttl|fixedDelay|exponentialDelay|backoff)"

VALUES: tuple[tuple[str, list[Any]], ...] = (
    (r".*\.tcpKeepalive\.(time|interval)", ["77s"]),
    (rf"(DestinationRule|VirtualService|Sidecar) .*\.{_DURATION}", ["77s"]),
    (r".* spec\.exportTo\[\]", ["elsewhere", "."]),
    (r"DestinationRule spec\.host", ["other"]),
    (r"DestinationRule spec\.subsets\[\]\.name", ["v9"]),
    (r"DestinationRule spec\.subsets\[\]\.labels\{\}", ["x"]),
    (r"DestinationRule spec\.workloadSelector\.matchLabels\{\}", ["x"]),
    (r".*localityLbSetting\.distribute\[\]\.from", ["r9/*"]),
    (r".*failover\[\]\.from", ["r8"]),
    (r".*failover\[\]\.to", ["r9", "r3"]),
    (r".*failoverPriority\[\]", ["topology.kubernetes.io/zone", "version=v1"]),
    (r".*maglev\.tableSize", [131071]),
    (r".*inimumRingSize", [2048]),
    (r".*(maxEjectionPercent|minHealthPercent|minimumPercent)", [33]),
    (r".*outlierDetectionHttpErrorCodes\[\]", [503]),
    (r".*aggression", [2.5]),
    (r".*tls\.subjectAltNames\[\]", ["san.example.com"]),
    (r".*distribute\[\]\.to\{\}", [60]),
    (r".*portLevelSettings\[\]\.port\.number", [9000]),
    (r".*tunnel\.(targetPort)", [8888]),
    (r".*tunnel\.protocol", ["POST", "CONNECT"]),
    (r"VirtualService spec\.hosts\[\]", ["other"]),
    (r"VirtualService spec\.gateways\[\]", ["nowhere"]),
    (r"VirtualService .*gateways\[\]", ["mesh", "main"]),
    (r"VirtualService .*destination\.host|VirtualService .*mirror\.host", ["other"]),
    (r"(VirtualService|Sidecar) .*\.subset", ["v2"]),
    (r"VirtualService .*port\.number", [9000, 80]),
    (r"VirtualService .*match\[\]\.port", [8080, 9000, 9002]),
    (r"VirtualService .*(sourceSubnet|destinationSubnets\[\])", ["10.9.0.0/16"]),
    (r"VirtualService .*sniHosts\[\]", ["two.example.com"]),
    (r"VirtualService .*(headers|withoutHeaders|queryParams)\{\}\.(\w+)", ["x"]),
    (r"VirtualService .*directResponse\.body\.bytes", ["aGVsbG8="]),
    (r"VirtualService .*(directResponse\.status|httpStatus)", [418]),
    (r"VirtualService .*redirectCode", [308]),
    (r"VirtualService .*grpcStatus", ["INTERNAL"]),
    (r"VirtualService .*(percent|mirrorPercent|mirror_percent)", [33]),
    (r"VirtualService .*percentage\.value|.*mirrorPercentage\.value", [33.0]),
    (r"VirtualService .*uriRegexRewrite\.match", ["/b(.*)"]),
    (r"VirtualService .*retryOn", ["5xx,503"]),
    (r"VirtualService .*weight", [7]),
    (r"VirtualService .*attempts", [0, 7]),
    (r"VirtualService .*delegate\.name", ["nowhere"]),
    (r"VirtualService .*(prefixRewrite|rewrite\.uri|redirect\.uri|uri\.exact|uri\.prefix)", ["/sample"]),
    (r"Gateway spec\.servers\[\]\.bind", ["10.0.0.9"]),
    (r"Gateway spec\.servers\[\]\.hosts\[\]", ["sample.example.com"]),
    (r"Gateway spec\.servers\[\]\.port\.protocol", ["HTTP", "TLS"]),
    (r"(Gateway|Sidecar) .*credentialNames?(\[\])?|.*caCertCredentialName", ["other-tls"]),
    (r".*cipherSuites\[\]", ["ECDHE-RSA-AES128-GCM-SHA256"]),
    (r".*verifyCertificateHash\[\]", ["ab" * 32]),
    (r".*verifyCertificateSpki\[\]", ["q6uUqPHVJRl3gpbmBcjmWSzxjp2Nr0dTLKmhxP0vtrg="]),
    (r".*(serverCertificate|privateKey|caCertificates|caCrl|clientCertificate)", ["/etc/certs/sample.pem"]),
    (r".*(serviceentry|ServiceEntry|WorkloadEntry|WorkloadGroup) .*ports\{\}", [7777]),
    (r"(ServiceEntry spec\.endpoints\[\]|WorkloadGroup spec\.template)\.labels\{\}", ["v1"]),
    (r"WorkloadEntry spec\.labels\{\}", ["other"]),
    (r"WorkloadGroup spec\.metadata\.labels\{\}", ["v1"]),
    (r"WorkloadGroup spec\.template\.address", ["10.4.0.7"]),
    (r"Secret (data|stringData)\{\}", ["c2FtcGxl"]),
    (r"Service spec\.ipFamilies\[\]", ["IPv6"]),
    (r"Service status\.loadBalancer\.ingress\[\]\.ipMode", ["Proxy"]),
    (r"Pod .*containerPort", [8088]),
    (r"Pod .*ports\[\]\.name", ["other"]),
    (r"Pod .*ports\[\]\.protocol", ["UDP"]),
    (r"Pod spec\.initContainers\[\]\.restartPolicy", ["OnFailure"]),
    (r"Pod spec\.subdomain", ["stateful"]),
    (r"Pod spec\.hostname", ["sample"]),
    (r"Pod status\.conditions\[\]\.status", ["False"]),
    (r"Pod status\.conditions\[\]\.type", ["Other"]),
    (r"Pod status\.phase", ["Failed"]),
    (r"Pod spec\.nodeName", ["node-2"]),
    (r"Pod status\.podIP", ["10.1.0.77"]),
    (r"Pod status\.podIPs\[\]\.ip", ["10.1.0.77"]),
    (r"ServiceEntry spec\.hosts\[\]", ["sample.example.org"]),
    (r"ServiceEntry spec\.addresses\[\]", ["10.98.0.1"]),
    (r".*endpoints\[\]\.address|WorkloadEntry spec\.address", ["10.7.0.1"]),
    (r".*(locality)", ["r7/z7/s7"]),
    (r".*serviceAccount", ["sample"]),
    (r"ServiceEntry spec\.ports\[\]\.protocol", ["TCP", "GRPC"]),
    (r"ServiceEntry spec\.endpoints\[\]\.ports\{\}|WorkloadEntry spec\.ports\{\}", [7777]),
    (r"Sidecar spec\.egress\[\]\.hosts\[\]", ["default/*", "shop/*"]),
    (r"Sidecar spec\.egress\[\]\.port\.number", [9000]),
    (r"Sidecar .*\.protocol", ["TCP", "HTTP"]),
    (r"Sidecar .*bind", ["127.0.0.9"]),
    (r"Sidecar .*defaultEndpoint", ["127.0.0.1:7777", "unix:///tmp/sample.sock"]),
    (r"Sidecar spec\.outboundTrafficPolicy\.egressProxy\.host", ["other.default.svc.cluster.local"]),
    (r"Sidecar .*egressProxy\.port\.number", [9000]),
    (r"Service spec\.(clusterIP)", ["None", "10.96.0.77"]),
    (r"Service spec\.clusterIPs\[\]", ["10.96.0.77"]),
    (r"Service spec\.externalIPs\[\]", ["192.0.2.7"]),
    (r"Service spec\.externalName", ["sample.example.org"]),
    (r"Service spec\.type", ["ClusterIP"]),
    (r"Service spec\.(external|internal)TrafficPolicy", ["Local"]),
    (r"Service spec\.sessionAffinity", ["ClientIP"]),
    (r"Service spec\.sessionAffinityConfig\.clientIP\.timeoutSeconds", [77]),
    (r"Service spec\.trafficDistribution", ["PreferClose", "PreferSameZone", "PreferSameNode"]),
    (r"Service spec\.ports\[\]\.appProtocol", ["grpc"]),
    (r"Service spec\.ports\[\]\.name", ["tcp-sample"]),
    (r"Service spec\.ports\[\]\.port", [81]),
    (r"Service spec\.ports\[\]\.protocol", ["UDP"]),
    (r"Service spec\.ports\[\]\.targetPort", [8081]),
    (r"Service spec\.loadBalancerSourceRanges\[\]", ["192.0.2.0/24"]),
    (r"Service spec\.loadBalancerIP|Service status\.loadBalancer\.ingress\[\]\.ip", ["192.0.2.9"]),
    (r"EndpointSlice addressType", ["FQDN"]),
    (r"EndpointSlice endpoints\[\]\.addresses\[\]|Endpoints subsets\[\]\.addresses\[\]\.ip", ["10.7.0.2"]),
    (r"(EndpointSlice|Endpoints) .*port", [8081]),
    (r"(EndpointSlice|Endpoints) .*nodeName", ["node-1"]),
    (r"(EndpointSlice|Endpoints) .*targetRef\.name", ["web-1"]),
    (r"(EndpointSlice|Endpoints) .*targetRef\.kind", ["Pod", "Node"]),
    (r"(EndpointSlice|Endpoints) .*\.protocol", ["UDP"]),
    (r"EndpointSlice endpoints\[\]\.hints\.for(Zones|Nodes)\[\]\.name", ["z2", "node-1"]),
    (r"EndpointSlice endpoints\[\]\.conditions\.(ready)", [False]),
    (r"EndpointSlice endpoints\[\]\.conditions\.(serving|terminating)", [True, False]),
)
"""Pattern of `Kind field` -> values to try; the first pattern that fits counts."""

KEYS: tuple[tuple[str, str], ...] = (
    (r".*distribute\[\]\.to\{\}", "r1/z1/*"),
    (r"(ServiceEntry|WorkloadEntry|WorkloadGroup) .*ports\{\}", "http"),
    (r"(ServiceEntry spec\.endpoints\[\]|WorkloadGroup spec\.template)\.labels\{\}", "version"),
    (r"WorkloadGroup spec\.metadata\.labels\{\}", "version"),
    (r"WorkloadEntry spec\.labels\{\}", "app"),
    (r"Secret (data|stringData)\{\}", "tls.crt"),
)
"""Pattern of `Kind field` -> the key to set in a map, where any other would not do."""

BESIDE: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"DestinationRule spec\.subsets\[\]\.trafficPolicy\.portLevelSettings\[\]", {
        "spec.subsets[].trafficPolicy.portLevelSettings[].port.number": 80,
        "spec.subsets[].trafficPolicy.portLevelSettings[].connectionPool.tcp.connectTimeout": "9s",
    }),
    (r"DestinationRule spec\.trafficPolicy\.portLevelSettings\[\]", {
        "spec.trafficPolicy.portLevelSettings[].port.number": 80,
        "spec.trafficPolicy.portLevelSettings[].connectionPool.tcp.connectTimeout": "9s",
    }),
)  # fmt: skip


def _below(kind: str, prefix: str, rows: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows for the settings of one traffic policy: (what the field begins with -> what must be beside it)."""
    pattern = prefix.replace(".", r"\.").replace("[", r"\[").replace("]", r"\]")
    return [
        (rf"{kind} {pattern}\.{field}", {f"{prefix}.{name}": value for name, value in values.items()})
        for field, values in rows.items()
    ]


_POLICY: dict[str, dict[str, Any]] = {
    r"loadBalancer\.consistentHash\.(ringHash|maglev|minimumRingSize)": {
        "loadBalancer.consistentHash.httpHeaderName": "x"
    },
    r"loadBalancer\.consistentHash\.httpCookie": {
        "loadBalancer.consistentHash.httpCookie.name": "c",
        "loadBalancer.consistentHash.httpCookie.ttl": "1s",
    },
    r"loadBalancer\.consistentHash\.httpCookie\.attributes": {
        "loadBalancer.consistentHash.httpCookie.attributes[].name": "a"
    },
    r"loadBalancer\.(localityLbSetting|zoneAwareLbSetting)": {"outlierDetection.interval": "1s"},
    r"loadBalancer\.localityLbSetting\.distribute": {
        "loadBalancer.localityLbSetting.distribute": [{"from": "r1/z1/*", "to": {"r1/z1/*": 70, "r2/z2/*": 30}}]
    },
    r"loadBalancer\.localityLbSetting\.failover\[": {
        "loadBalancer.localityLbSetting.failover": [{"from": "r1", "to": "r2"}]
    },
    r"loadBalancer\.localityLbSetting\.enabled": {
        "loadBalancer.localityLbSetting.distribute": [{"from": "r1/z1/*", "to": {"r1/z1/*": 70, "r2/z2/*": 30}}]
    },
    r"loadBalancer\.zoneAwareLbSetting\.failover\[": {
        "loadBalancer.zoneAwareLbSetting.failover": [{"from": "r1", "to": "r2"}]
    },
    r"loadBalancer\.warmup\.": {"loadBalancer.warmup.duration": "5s"},
    r"connectionPool\.http\.http2KeepAlive": {
        "connectionPool.http.http2KeepAlive.interval": "5s",
        "connectionPool.http.h2UpgradePolicy": "UPGRADE",
    },
    r"connectionPool\.http\.maxConcurrentStreams": {"connectionPool.http.h2UpgradePolicy": "UPGRADE"},
    r"outlierDetection\.splitExternal": {"outlierDetection.consecutiveLocalOriginFailures": 3},
    r"tls\.": {"tls.mode": "SIMPLE"},
    r"tls\.(clientCertificate|privateKey)": {
        "tls.mode": "MUTUAL", "tls.clientCertificate": "/c.pem", "tls.privateKey": "/k.pem",
    },
    r"tls\.(caCrl|subjectAltNames|insecureSkipVerify)": {"tls.caCertificates": "/ca.pem"},
    r"tls\.credentialName": {"tls.mode": "SIMPLE"},
    r"tunnel\.": {"tunnel.targetHost": "t.example.com", "tunnel.targetPort": 80},
    r"retryBudget\.": {"retryBudget.percent": 10},
}  # fmt: skip

BESIDE += tuple(
    row
    for prefix in (
        "spec.trafficPolicy",
        "spec.subsets[].trafficPolicy",
        "spec.trafficPolicy.portLevelSettings[]",
        "spec.subsets[].trafficPolicy.portLevelSettings[]",
    )
    for row in _below("DestinationRule", prefix, _POLICY)
)
BESIDE += tuple(
    row
    for prefix in ("spec.ingress[].connectionPool", "spec.inboundConnectionPool")
    for row in _below(
        "Sidecar",
        prefix,
        {
            r"http\.http2KeepAlive": {"http.http2KeepAlive.interval": "5s", "http.h2UpgradePolicy": "UPGRADE"},
            r"http\.maxConcurrentStreams": {"http.h2UpgradePolicy": "UPGRADE"},
        },
    )
)
BESIDE += (
    (r"VirtualService spec\.http\[\]\.(redirect|directResponse|delegate)", {"spec.http[].route": None}),
    (r"VirtualService spec\.http\[\]\.directResponse", {"spec.http[].directResponse.status": 200}),
    (r"VirtualService spec\.http\[\]\.fault\.delay", {
        "spec.http[].fault.delay.fixedDelay": "1s", "spec.http[].fault.delay.percentage.value": 50.0,
    }),
    (r"VirtualService spec\.http\[\]\.fault\.delay\.percent$", {"spec.http[].fault.delay.percentage": None}),
    (r"VirtualService spec\.http\[\]\.fault\.delay\.exponentialDelay", {"spec.http[].fault.delay.fixedDelay": None}),
    (r"VirtualService spec\.http\[\]\.fault\.abort", {
        "spec.http[].fault.abort.httpStatus": 500, "spec.http[].fault.abort.percentage.value": 50.0,
    }),
    (r"VirtualService spec\.http\[\]\.fault\.abort\.(grpcStatus|http2Error)", {
        "spec.http[].fault.abort.httpStatus": None,
    }),
    (r"VirtualService spec\.http\[\]\.mirror", {"spec.http[].mirror.host": "web"}),
    (r"VirtualService spec\.http\[\]\.mirrors", {
        "spec.http[].mirror": None, "spec.http[].mirrors[].destination.host": "web",
    }),
    (r"VirtualService spec\.http\[\]\.(mirrors\[\]\.destination|mirror)\.(port|subset)", {}),
    (r"VirtualService spec\.http\[\]\.rewrite\.uriRegexRewrite", {
        "spec.http[].rewrite.uriRegexRewrite.match": "/a(.*)", "spec.http[].rewrite.uriRegexRewrite.rewrite": "/z",
    }),
    (r"VirtualService spec\.http\[\]\.rewrite\.uri", {}),
    (r"VirtualService spec\.http\[\]\.retries", {"spec.http[].retries.attempts": 3}),
    (r"VirtualService spec\.http\[\]\.match\[\]\.ignoreUriCase", {}),
    (r"VirtualService spec\.http\[\]\.match\[\]\.uri\.(exact|regex)", {"spec.http[].match[].uri.prefix": None}),
    (r"VirtualService spec\.http\[\]\.redirect\.(port|derivePort)", {"spec.http[].redirect.authority": "r"}),
    (r"VirtualService spec\.http\[\]\.delegate", {"spec.http[].delegate.name": "delegated"}),
    (r"VirtualService spec\.http\[\]\.corsPolicy", {"spec.http[].corsPolicy.allowMethods": ["GET"]}),
    (r"VirtualService spec\.http\[\]\.route\[\]\.destination\.port", {}),
    (r"VirtualService spec\.http\[\]\.route\[\]\.weight", {
        "spec.http[].route": [
            {"destination": {"host": "web", "subset": "v1"}, "weight": 60},
            {"destination": {"host": "web", "subset": "v2"}, "weight": 40},
        ],
    }),
    (r"VirtualService spec\.(tcp|tls)\[\]\.route\[\]\.weight", {}),
    (r"Gateway spec\.servers\[\]\.tls\.httpsRedirect", {
        "spec.servers[].port": {"number": 8081, "name": "plain", "protocol": "HTTP"}, "spec.servers[].tls": {},
    }),
    (r"Gateway spec\.servers\[\]\.tls\.credentialNames", {"spec.servers[].tls.credentialName": None}),
    (r"Gateway spec\.servers\[\]\.tls\.(serverCertificate|privateKey|caCertificates|caCrl)", {
        "spec.servers[].tls.credentialName": None, "spec.servers[].tls.serverCertificate": "/c.pem",
        "spec.servers[].tls.privateKey": "/k.pem", "spec.servers[].tls.caCertificates": "/ca.pem",
    }),
    (r"Gateway spec\.servers\[\]\.tls\.tlsCertificates", {
        "spec.servers[].tls.credentialName": None,
        "spec.servers[].tls.tlsCertificates": [{"serverCertificate": "/c.pem", "privateKey": "/k.pem"}],
        "spec.servers[].tls.caCertificates": "/ca.pem",
    }),
    (r"ServiceEntry spec\.workloadSelector", {"spec.endpoints": None}),
    (r"ServiceEntry spec\.endpoints\[\]\.ports", {}),
    (r"Sidecar spec\.egress\[\]\.(port|bind|captureMode)", {
        "spec.egress[].port": {"number": 80, "name": "http", "protocol": "HTTP"},
    }),
    (r"Sidecar spec\.outboundTrafficPolicy\.egressProxy", {
        "spec.outboundTrafficPolicy.mode": "ALLOW_ANY",
        "spec.outboundTrafficPolicy.egressProxy.host": "web.default.svc.cluster.local",
    }),
    (r"Sidecar spec\.outboundTrafficPolicy\.egressProxy\.subset", {}),
    (r"Pod spec\.containers\[\]\.ports", {"spec.containers[].ports": [{"name": "web", "containerPort": 8080}]}),
    (r"Pod spec\.initContainers", {
        "spec.initContainers": [
            {"name": "i", "restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 1}]}
        ],
        "spec.containers[].ports": None,
    }),
    (r"Pod spec\.hostname$", {"spec.subdomain": "stateful"}),
    (r"Pod spec\.subdomain", {"spec.hostname": "web-0"}),
    (r"Pod status\.conditions\[\]\.status", {"status.conditions": [{"type": "Ready", "status": "True"}]}),
    (r"Pod status\.conditions\[\]\.type", {"status.conditions": [{"type": "Ready", "status": "False"}]}),
    (r"(EndpointSlice endpoints|Endpoints subsets\[\]\.addresses)\[\]\.targetRef\.kind", {}),
    (r"EndpointSlice endpoints\[\]\.targetRef", {"endpoints[].targetRef": {"kind": "Pod", "name": "web-2"}}),
    (r"EndpointSlice endpoints\[\]\.targetRef\.kind", {"endpoints[].targetRef": {"kind": "Node", "name": "web-1"}}),
    (r"Endpoints subsets\[\]\.addresses\[\]\.targetRef", {
        "subsets[].addresses[].targetRef": {"kind": "Pod", "name": "web-2"},
    }),
    (r"Endpoints subsets\[\]\.addresses\[\]\.targetRef\.kind", {
        "subsets[].addresses[].targetRef": {"kind": "Node", "name": "web-1"},
    }),
    (r"WorkloadEntry spec\.(locality|weight)", {}),
    (r"VirtualService spec\.(tcp)\[\]\.route\[\]\.weight", {
        "spec.tcp[].route": [
            {"destination": {"host": "web", "subset": "v1", "port": {"number": 9000}}, "weight": 60},
            {"destination": {"host": "web", "subset": "v2", "port": {"number": 9000}}, "weight": 40},
        ],
    }),
    (r"VirtualService spec\.(tls)\[\]\.route\[\]\.weight", {
        "spec.tls[].route": [
            {"destination": {"host": "web", "subset": "v1", "port": {"number": 9000}}, "weight": 60},
            {"destination": {"host": "web", "subset": "v2", "port": {"number": 9000}}, "weight": 40},
        ],
    }),
    (r"ServiceEntry spec\.ports\[\]\.name", {"spec.endpoints[].ports": {"sample": 7777}}),
    (r"Service status\.loadBalancer\.ingress\[\]\.ipMode", {
        "status.loadBalancer.ingress[].ip": "192.0.2.9", "status.loadBalancer.ingress[].ipMode": "VIP",
    }),
    (r"Service spec\.(externalName|type)", {"spec.type": "ExternalName", "spec.externalName": "e.example.org"}),
    (r"Service spec\.clusterIPs", {"spec.clusterIP": None}),
    (r"Service spec\.sessionAffinityConfig", {"spec.sessionAffinity": "ClientIP"}),
    (r"Service spec\.publishNotReadyAddresses", {"spec.selector": {"app": "unready"}}),
    (r"EndpointSlice endpoints\[\]\.conditions\.(serving|terminating)", {
        "endpoints[].conditions": {"ready": False, "serving": True, "terminating": True},
    }),
    (r"(EndpointSlice|Endpoints) .*targetRef", {}),
)  # fmt: skip
"""Pattern of `Kind field` -> fields that must have these values (None: be absent) beside it; all that fit count."""
