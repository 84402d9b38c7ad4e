"""Whatever valid objects come together, the real Envoy accepts what is made of them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.envoy_config import static_bootstrap, validate
from tests.property.test_translate import PROXIES
from tests.property.worlds import World, anything, snapshot
from xds_server.mesh.proxy import Proxy, ProxyKind
from xds_server.translate import translate

WORLDS = int(os.environ.get("XDS_SERVER_TEST_WORLDS", "25"))
"""How many worlds to try; each costs a start of Envoy."""

ENVOYS = [proxy for proxy in PROXIES if proxy.kind is not ProxyKind.GRPC]

worlds = st.lists(anything, min_size=5, max_size=40).map(dict)


@settings(
    max_examples=WORLDS,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(worlds, st.sampled_from(ENVOYS))
def test_envoy_accepts_any_valid_world(world: World, proxy: Proxy) -> None:
    made = translate(snapshot(world), proxy)
    assert [found for found in made.diagnostics if found.code == "XDS1010"] == []
    validate(static_bootstrap(made.resources))
