"""A channel to the service: in plain text to this machine, or over TLS with a token, a certificate, or both."""

import os
import pathlib

import grpc

# A connection that idles is looked after; a server that is away is tried again, soon at first.
OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def credentials(ca_file: str, cert_file: str, key_file: str, token_file: str) -> grpc.ChannelCredentials:
    """TLS, our certificate in it, and the token with each call: gRPC sends such a token over TLS only."""
    # Read once: a program that outlives its certificate makes a new channel when the files change.
    ca, key, cert = (pathlib.Path(file).read_bytes() if file else None for file in (ca_file, key_file, cert_file))
    tls = grpc.ssl_channel_credentials(ca, key, cert)
    if not token_file:
        return tls
    token = pathlib.Path(token_file).read_text().strip()
    return grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(token))


def channel(server: str = "", asynchronous: bool = False):
    """By the variables of the service's own client. `server` is HOST:PORT."""
    made = grpc.aio if asynchronous else grpc
    server = server or os.environ.get("MODEL_CONTROL_CLIENT_SERVER", "127.0.0.1:50051").split("://")[-1]
    ca_file = os.environ.get("MODEL_CONTROL_CLIENT_TLS_CA_FILE", "")
    if not ca_file:
        return made.insecure_channel(server, OPTIONS)
    options = list(OPTIONS)
    if name := os.environ.get("MODEL_CONTROL_CLIENT_TLS_SERVER_NAME"):
        options.append(("grpc.ssl_target_name_override", name))
    files = (os.environ.get(f"MODEL_CONTROL_CLIENT_{name}_FILE", "") for name in ("TLS_CERT", "TLS_KEY", "TOKEN"))
    return made.secure_channel(server, credentials(ca_file, *files), options)
