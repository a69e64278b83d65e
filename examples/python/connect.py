"""A channel to the service, in plain text or over TLS, with a token, a certificate, or both.

The rules are those of the service's own client. TLS is spoken to `https://HOST:PORT`, and to a bare `HOST:PORT` when files for
it are given. A token goes over TLS, or in plain text to this machine, and nowhere else.
"""

import ipaddress
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
IN_PLAIN_TEXT = "a token is not sent over the network in plain text: use https://HOST:PORT, or an address of this machine"


def setting(name: str) -> str:
    return os.environ.get(f"MODEL_CONTROL_CLIENT_{name}", "")


def content(name: str) -> bytes | None:
    """Read once: a program that outlives its certificate makes a new channel when the files change."""
    return pathlib.Path(file).read_bytes() if (file := setting(name)) else None


def is_loopback(server: str) -> bool:
    host = server.rsplit(":", 1)[0].strip("[]")
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel(server: str = "", asynchronous: bool = False):
    """By the variables of the service's own client. `server` is HOST:PORT, with http:// or https:// before it or neither.

    Raises ValueError for what is not safe or contradicts itself, and OSError for a file that cannot be read.
    """
    made = grpc.aio if asynchronous else grpc
    scheme, _, server = (server or setting("SERVER") or "127.0.0.1:50051").rstrip("/").rpartition("://")
    if scheme not in ("", "http", "https"):
        raise ValueError(f"{scheme}://{server}: want HOST:PORT, http://HOST:PORT or https://HOST:PORT")
    ca, cert, key, token = (content(f"{name}_FILE") for name in ("TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN"))
    if scheme == "http" and (ca or cert):
        raise ValueError(f"http://{server}: files for TLS need an address with TLS, https://HOST:PORT")
    options = list(OPTIONS)
    if scheme == "https" or ca or cert:
        # Without `ca`: the authorities that gRPC brings, or those in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH.
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        if name := setting("TLS_SERVER_NAME"):
            options.append(("grpc.ssl_target_name_override", name))
    elif not token:
        return made.insecure_channel(server, options)
    elif is_loopback(server):
        # gRPC looks, too, that the connection stays here; by a proxy it would not.
        credentials = grpc.local_channel_credentials()
        options.append(("grpc.enable_http_proxy", 0))
    else:
        raise ValueError(f"{server}: {IN_PLAIN_TEXT}")
    if token:
        shown = grpc.access_token_call_credentials(token.decode().strip())
        credentials = grpc.composite_channel_credentials(credentials, shown)
    return made.secure_channel(server, credentials, options)
