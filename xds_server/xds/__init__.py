"""The delivery of resources over xDS.

gRPC reads its experiments once, when it is imported, so they are set here, before any module of this package
imports it. The event engines that they switch off cost twice the CPU for each push (grpcio 1.85); a name that a
later gRPC does not know is ignored. What the operator set is left alone.
"""

import os

os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
