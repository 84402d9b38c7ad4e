"""How the settings reach the xDS server."""

from __future__ import annotations

from xds_server.app import options_of
from xds_server.settings import Settings
from xds_server.xds.server import Options


def test_the_defaults_of_the_settings_are_those_of_the_server() -> None:
    assert options_of(Settings()) == Options()


def test_every_limit_can_be_set() -> None:
    settings = Settings(
        max_streams=1,
        streams_per_second=2,
        requests_per_second=3,
        max_request_bytes=4096,
        max_connection_age=5,
        introspection="none",
    )
    assert options_of(settings) == Options(
        max_streams=1,
        streams_per_second=2,
        requests_per_second=3,
        max_request_bytes=4096,
        max_age=5,
        introspection=False,
    )
