"""A stock gRPC client as a process of its own: calls a target for ever and prints who answered, a line for each call.

Usage: grpc_caller.py TARGET [HEADER=VALUE...]; GRPC_XDS_BOOTSTRAP_CONFIG says where the control plane is.
"""

from __future__ import annotations

import sys
import time

import grpc


def main(target: str, *headers: str) -> None:
    metadata = [tuple(header.split("=", 1)) for header in headers]
    with grpc.insecure_channel(target) as channel:
        say = channel.unary_unary("/test.Echo/Say")
        while True:
            try:
                answer = say(b"", timeout=20, wait_for_ready=True, metadata=metadata)
                print(answer.decode(), flush=True)
            except grpc.RpcError as error:
                print(f"error {error.code().name} {error.details()}", flush=True)
            time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
