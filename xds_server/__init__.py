"""xds-server: Kubernetes and Istio resources in, Envoy configuration out."""

from xds_server.translate import Translation, translate
from xds_server.version import __version__

__all__ = ["Translation", "__version__", "translate"]
