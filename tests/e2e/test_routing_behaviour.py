"""What a VirtualService says is what a real Envoy does: one lab, many questions."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.recorded import Upstream, entry, gateway, stat, upstream
from xds_server.bootstrap import Node
from xds_server.demo.client import Reply, Target, fetch
from xds_server.demo.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDGE = Node("edge", labels=(("app", "edge"),))
RULES = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web.test
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
"""
ROUTES = r"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  hosts: [web.example]
  gateways: [edge]
  http:
  - match:
    - {uri: {prefix: /who}, headers: {x-user: {exact: bob}}}
    - {uri: {prefix: /who}, queryParams: {beta: {exact: "1"}}}
    route: [{destination: {host: web.test, subset: v2}}]
  - match: [{uri: {prefix: /who}, withoutHeaders: {x-robot: {}}}]
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /who}}]
    directResponse: {status: 403, body: {string: robot}}
  - match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: web.test, subset: v1}, weight: 3, headers: {response: {set: {x-share: one}}}}
    - {destination: {host: web.test, subset: v2}, weight: 1, headers: {response: {set: {x-share: two}}}}
  - match: [{uri: {prefix: /retry}}]
    retries: {attempts: 3, retryOn: "503,connect-failure", backoff: 1ms}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /never-again}}]
    retries: {attempts: 0}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /hang}}]
    timeout: 200ms
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /delay}}]
    fault: {delay: {fixedDelay: 1ms, percentage: {value: 100}}}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /mirror}}]
    mirrors: [{destination: {host: audit.test}}, {destination: {host: web.test, subset: v2}, percentage: {value: 0}}]
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {regex: /v\d+/.*}}]
    rewrite: {uriRegexRewrite: {match: '^/v(\d+)/(.*)$', rewrite: '/\2/of/\1'}, authority: inner.example}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /headers}}]
    headers:
      request: {set: {x-set: "new", x-who: "%REQ(x-user)%"}, add: {x-add: more}, remove: [x-remove]}
      response: {set: {x-answer-set: "yes"}}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: https://a.example}], allowMethods: [PUT], maxAge: 1m, allowCredentials: true}
    route: [{destination: {host: web.test, subset: v1}}]
  - match: [{uri: {prefix: /moved}}]
    redirect: {scheme: https, authority: new.example, prefixRewrite: /here, redirectCode: 308}
  - match: [{uri: {prefix: /team}}]
    headers: {request: {set: {x-root: "yes"}}}
    delegate: {name: team, namespace: team}
  - match: [{uri: {prefix: /lost}}]
    delegate: {name: nobody}
  - match: [{uri: {prefix: /merged}}]
    directResponse: {status: 201}
  - route: [{destination: {host: web.test, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team, namespace: team}
spec:
  http:
  - match: [{uri: {prefix: /team/two}}]
    route: [{destination: {host: web.test, subset: v2}}]
  - route: [{destination: {host: web.test, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: younger, namespace: default, creationTimestamp: "2026-02-01T00:00:00Z"}
spec:
  hosts: [web.example]
  gateways: [edge]
  http:
  - {match: [{uri: {exact: /merged/exactly}}], directResponse: {status: 202}}
  - {match: [{uri: {prefix: /merged/longer}}], directResponse: {status: 203}}
  - {match: [{uri: {prefix: /merged}}], directResponse: {status: 204}}
"""


class World:
    def __init__(self, lab: Lab, v1: Upstream, v2: Upstream, audit: Upstream) -> None:
        self.lab, self.v1, self.v2, self.audit = lab, v1, v2, audit
        self.port = free_port()

    async def start(self) -> None:
        http = f"{{port: {{number: {self.port}, name: http, protocol: HTTP}}, hosts: ['*'], name: web}}"
        entries = entry("web.test", self.v1, self.v2) + entry("audit.test", self.audit)
        self.lab.write("world.yaml", gateway(http) + entries + RULES + ROUTES)
        await self.lab.serve()
        await self.lab.envoy(EDGE)
        await eventually(lambda: answered(Target(self.port, "web.example")))

    async def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return await fetch(Target(self.port, "web.example", path, headers=named, method=method))

    async def who(self, path: str, **headers: str) -> str:
        reply = await self.get(path, **headers)
        return str(reply.json()["name"]) if reply.ok else str(reply.status)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="xds-lab-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(upstream(name)) for name in ("v1", "v2", "audit")]
            made = World(Lab(Path(directory), stack), *servers)
            await made.start()
            yield made


async def test_headers_and_parameters_choose_the_route(world: World) -> None:
    assert await world.who("/who") == "v1"
    assert await world.who("/who", x_user="bob") == "v2"
    assert await world.who("/who", x_user="bobby") == "v1"
    assert await world.who("/who?beta=1") == "v2"
    assert await world.who("/who", x_robot="") == "403"


async def test_weights_share_the_requests_and_their_headers_follow(world: World) -> None:
    replies = [await world.get("/split") for _ in range(80)]
    shares = {(reply.json()["name"], reply.headers["x-share"]) for reply in replies}
    assert shares == {("v1", "one"), ("v2", "two")}
    assert sum(reply.json()["name"] == "v1" for reply in replies) > 40


async def test_retries_are_made_as_often_as_asked_and_for_what_was_asked(world: World) -> None:
    assert (await world.get("/retry/twice", x_answer="503,503,200")).ok
    assert world.v1.count("/retry/twice") == 3
    assert (await world.get("/retry/other", x_answer="500,200")).status == 500
    assert world.v1.count("/retry/other") == 1
    assert (await world.get("/retry/more", x_answer="503,503,503,503,200")).status == 503
    assert world.v1.count("/retry/more") == 4
    assert (await world.get("/never-again", x_answer="503,200")).status == 503
    assert world.v1.count("/never-again") == 1


async def test_a_request_that_may_have_been_processed_is_not_repeated_by_default(world: World) -> None:
    assert (await world.get("/order", method="POST", x_answer="503,200")).status == 503
    assert world.v1.count("/order") == 1


async def test_a_timeout_ends_a_request(world: World) -> None:
    reply = await world.get("/hang")
    assert reply.status == 504
    world.v1.release.set()


async def test_faults_are_injected_and_counted(world: World) -> None:
    assert (await world.get("/abort")).status == 418
    assert world.v1.count("/abort") == 0
    assert (await world.get("/delay")).ok
    assert await stat(world.lab, EDGE.id, "http.web.fault.delays_injected") == 1
    assert await stat(world.lab, EDGE.id, "http.web.fault.aborts_injected") == 1


async def test_a_mirror_gets_a_copy_and_its_answer_is_thrown_away(world: World) -> None:
    world.audit.status = 500
    assert (await world.get("/mirror")).ok
    await eventually(lambda: world.audit.count("/mirror") == 1)
    assert world.audit.asked[-1].headers["host"].startswith("web.example-shadow")
    assert world.v2.count("/mirror") == 0


async def test_paths_and_hosts_are_rewritten(world: World) -> None:
    asked = (await world.get("/v12/books")).json()
    assert (asked["path"], asked["headers"]["host"]) == ("/books/of/12", "inner.example")
    assert (await world.get("/old/things")).json()["path"] == "/new/things"


async def test_headers_are_set_added_and_removed(world: World) -> None:
    reply = await world.get("/headers", x_set="old", x_add="one", x_remove="x", x_user="bob")
    seen = reply.json()["headers"]
    assert (seen["x-set"], seen["x-who"], seen["x-add"]) == ("new", "bob", "more")
    assert "x-remove" not in seen
    assert reply.headers["x-answer-set"] == "yes"


async def test_a_preflight_is_answered_for_known_origins(world: World) -> None:
    asked = {"access_control_request_method": "PUT"}
    good = await world.get("/cors", method="OPTIONS", origin="https://a.example", **asked)
    assert good.headers["access-control-allow-origin"] == "https://a.example"
    assert good.headers["access-control-max-age"] == "60"
    assert world.v1.count("/cors") == 0
    other = await world.get("/cors", method="OPTIONS", origin="https://b.example", **asked)
    assert "access-control-allow-origin" not in other.headers


async def test_a_redirect_says_where_to(world: World) -> None:
    reply = await world.get("/moved/on")
    assert (reply.status, reply.headers["location"]) == (308, "https://new.example/here/on")


async def test_a_delegate_answers_and_a_missing_one_is_no_hole(world: World) -> None:
    assert await world.who("/team/one") == "v1"
    assert await world.who("/team/two") == "v2"
    assert world.v2.asked[-1].headers["x-root"] == "yes"
    assert await world.who("/lost/and/found") == "500"


async def test_of_two_virtual_services_the_more_specific_route_answers(world: World) -> None:
    found = {path: (await world.get(path)).status for path in ("/merged", "/merged/exactly", "/merged/longer/x")}
    assert found == {"/merged": 201, "/merged/exactly": 202, "/merged/longer/x": 203}
