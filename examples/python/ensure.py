#!/usr/bin/env python3
"""Makes a model ready and shows the way there: ensure.py [MODEL] [--level on-disk|loaded|warm] [--server ADDRESS]"""

import argparse
import random
import sys
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from connect import channel
from ichat.modelcontrol.v1 import model_control_service_pb2 as api
from ichat.modelcontrol.v1 import model_control_service_pb2_grpc as services
from ichat.modelcontrol.v1 import model_pb2

LEVELS = {
    "on-disk": model_pb2.LEVEL_ON_DISK,
    "loaded": model_pb2.LEVEL_LOADED,
    "warm": model_pb2.LEVEL_WARM,
}
# Of a server that is away. The work goes on there: the same call joins it again.
ATTEMPTS = 6


def details(error: grpc.RpcError) -> dict:
    """What a status carries beside its message, by type."""
    found = {}
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind()
                packed.Unpack(found[kind])
    return found


def pause(error: grpc.RpcError, attempt: int) -> float:
    """Seconds until the next try: as the server asks, and never all callers at once."""
    retry = details(error).get(error_details_pb2.RetryInfo)
    asked = retry.retry_delay.ToTimedelta().total_seconds() if retry else 0
    return max(asked, 0.2 * 2**attempt) * random.uniform(1, 1.3)


def ensure(client: services.ModelControlStub, request: api.EnsureReadyRequest) -> api.EnsureReadyResponse:
    """The result; raises `grpc.RpcError` when it cannot be had."""
    for attempt in range(ATTEMPTS):
        try:
            for event in client.EnsureReady(request):
                if event.WhichOneof("event") == "result":
                    return event.result
                progress = event.progress
                phase = progress.phases[-1].phase if progress.phases else "waiting"
                total = progress.total_bytes if progress.HasField("total_bytes") else "?"
                print(f"{phase}: {progress.completed_bytes} of {total} bytes", file=sys.stderr)
            raise RuntimeError("the stream ended without a result")
        except grpc.RpcError as error:
            # Only what says so may be retried unasked.
            if error.code() != grpc.StatusCode.UNAVAILABLE or attempt + 1 == ATTEMPTS:
                raise
            time.sleep(pause(error, attempt))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="", help="the configured one when left out")
    parser.add_argument("--backend", default="")
    parser.add_argument("--level", choices=LEVELS)
    parser.add_argument("--server", default="", help="HOST:PORT, or https://HOST:PORT for TLS")
    args = parser.parse_args()
    request = api.EnsureReadyRequest(backend=args.backend, model=args.model, level=LEVELS.get(args.level, 0))
    try:
        opened = channel(args.server)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    with opened as connection:
        try:
            result = ensure(services.ModelControlStub(connection), request)
        except grpc.RpcError as error:
            print(f"error: {error.details()}", file=sys.stderr)
            told = details(error)
            if info := told.get(error_details_pb2.ErrorInfo):
                # Programs decide by the reason, never by the message.
                print(f"reason: {info.reason} {dict(info.metadata)}", file=sys.stderr)
            if bad := told.get(error_details_pb2.BadRequest):
                for violation in bad.field_violations:
                    print(f"field {violation.field}: {violation.description}", file=sys.stderr)
            return 1
    print(f"{result.model.name} on {result.model.backend} is ready: {result.model.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
