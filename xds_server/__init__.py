"""xds-server: Kubernetes and Istio resources in, Envoy configuration out.

The public API is `xds_server.translate.translate` and `xds_server.settings.Settings`. They are not imported here,
because Envoy's API takes a tenth of a second to import, which `xds-server --help` need not pay.
"""

from xds_server.version import __version__

__all__ = ["__version__"]
