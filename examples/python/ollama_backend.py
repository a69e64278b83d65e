#!/usr/bin/env python3
"""A worker's backend whose model is made ready by one call of the service.

`BaseBackend` stands for the base class of iChat's worker, with no more of it than this needs: a configuration entry, the
event that says that requests may come, and the step that makes the model ready. Put your own in its place.

Before, `_ensure_model_ready` asked Ollama for its list, created or pulled the model, and set the event. All of it is
`EnsureReady` now; what keeps the event true afterwards is a Watch of health.
"""

import asyncio
import contextlib
import logging
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from connect import channel
from ichat.modelcontrol.v1 import model_control_service_pb2 as api
from ichat.modelcontrol.v1 import model_control_service_pb2_grpc as services

log = logging.getLogger(__name__)
SERVING = health_pb2.HealthCheckResponse.SERVING


class BaseBackend:
    """The least of a worker's backend."""

    def __init__(self, entry: dict):
        self.entry = entry
        self.backend_ready_event = asyncio.Event()

    async def _ensure_model_ready(self) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        await self._ensure_model_ready()

    async def stop(self) -> None:
        self.backend_ready_event.clear()


class OllamaBackend(BaseBackend):
    """The entry's `name` is the one in the service's configs.yaml; the model, host and path stand there."""

    def __init__(self, entry: dict, server: str = ""):
        super().__init__(entry)
        self._channel = channel(server, asynchronous=True)
        self._watch: asyncio.Task | None = None

    async def start(self) -> None:
        self._watch = asyncio.create_task(self._follow_health())
        await super().start()

    async def stop(self) -> None:
        if self._watch:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await super().stop()
        await self._channel.close()

    async def _ensure_model_ready(self) -> None:
        # `wait_for_ready`: a service that is still starting is waited for. The rest of the request is the entry's.
        request = api.EnsureReadyRequest(backend=self.entry["name"])
        async for event in services.ModelControlStub(self._channel).EnsureReady(request, wait_for_ready=True):
            if event.WhichOneof("event") == "result":
                log.info("%s is ready: %s", event.result.model.name, event.result.model.digest)

    async def _follow_health(self) -> None:
        """Sets and clears the event as health says: `""` would be all backends, this is ours. Ends when cancelled."""
        request = health_pb2.HealthCheckRequest(service=f"backends/{self.entry['name']}")
        while True:
            try:
                async for answer in health_pb2_grpc.HealthStub(self._channel).Watch(request, wait_for_ready=True):
                    if answer.status == SERVING:
                        self.backend_ready_event.set()
                    else:
                        self.backend_ready_event.clear()
            except grpc.RpcError as error:
                log.warning("health cannot be followed: %s", error.details())
            # What is not known is not ready.
            self.backend_ready_event.clear()
            await asyncio.sleep(1)


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    backend = OllamaBackend({"name": sys.argv[1], "framework": "ollama"}, *sys.argv[2:3])
    try:
        await backend.start()
        await backend.backend_ready_event.wait()
        print(f"{sys.argv[1]} takes requests", flush=True)
        # A worker would serve here, and wait on the event before each request.
        if "--follow" in sys.argv:
            while backend.backend_ready_event.is_set():
                await asyncio.sleep(0.05)
            print(f"{sys.argv[1]} takes no requests", flush=True)
            await backend.backend_ready_event.wait()
            print(f"{sys.argv[1]} takes requests again", flush=True)
    finally:
        await backend.stop()


if __name__ == "__main__":
    asyncio.run(main())
