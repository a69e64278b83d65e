#!/usr/bin/env bash
# Every call of the API once, by grpcurl: grpcurl.sh [MODEL]
#
# SERVER is HOST:PORT, or https://HOST:PORT where the system knows the server's authorities. With TLS and a token:
# CA=ca.crt TOKEN=$(cat token) SERVER=https://host:50051 examples/grpcurl.sh
# With a certificate instead: CA=ca.crt CERT=client.crt KEY=client.key SERVER=https://host:50051 examples/grpcurl.sh
# Reflection tells grpcurl the messages. MODEL must be in the configuration or a store; its copy is removed again.
set -euo pipefail

server=${SERVER:-127.0.0.1:50051}
model=${1:-tiny}
control=ichat.modelcontrol.v1.ModelControl
operations=ichat.modelcontrol.v1.Operations
if [[ $server == http://* && -n ${CA:-}${CERT:-} ]]; then
    printf '%s: files for TLS need an address with TLS, https://HOST:PORT\n' "$server" >&2
    exit 2
elif [[ $server == https://* || -n ${CA:-}${CERT:-} ]]; then
    flags=()
    [[ -z ${CA:-} ]] || flags+=(-cacert "$CA")
    [[ -z ${CERT:-} ]] || flags+=(-cert "$CERT" -key "$KEY")
else
    flags=(-plaintext)
fi
server=${server##*://} server=${server%/}
if [[ -n ${TOKEN:-} ]]; then
    if [[ ${flags[*]:-} == -plaintext && ! ${server%:*} =~ ^(localhost|127(\.[0-9]+){3}|\[::1\])$ ]]; then
        printf '%s: a token is not sent over the network in plain text: use https://HOST:PORT, or an address of this machine\n' \
            "$server" >&2
        exit 2
    fi
    flags+=(-H "authorization: Bearer $TOKEN")
fi

# call RPC [MESSAGE]. `buf curl --protocol grpc --http2-prior-knowledge --data MESSAGE http://SERVER/RPC` does the same.
call() {
    local message=${2:-'{}'}
    printf '\n# %s %s\n' "$1" "$message" >&2
    grpcurl "${flags[@]}" -d "$message" "$server" "$1"
}

# may RPC MESSAGE: some engines cannot do it, and then the answer is a documented reason.
may() {
    call "$@" || printf '(refused, see docs/status-codes.md)\n' >&2
}

grpcurl "${flags[@]}" "$server" list
grpcurl "${flags[@]}" "$server" describe "$control.EnsureReady"

call "$control/Describe"
call "$control/EnsureReady" "{\"model\": \"$model\"}"
call "$control/List" '{"orderBy": "size_bytes desc", "pageSize": 10}'
call "$control/Show" "{\"model\": \"$model\"}"
call "$control/Copy" "{\"source\": \"$model\", \"destination\": \"example-copy\", \"replace\": true}"
may "$control/Load" "{\"model\": \"$model\", \"level\": \"LEVEL_WARM\", \"keepAlive\": \"60s\"}"
call "$control/ListRunning"
call "$control/Unload" "{\"model\": \"$model\"}"
call "$control/Delete" '{"model": "example-copy", "unload": true}'
# These three reach beyond the service: a registry, and a folder that --model-root allows.
may "$control/Pull" "{\"model\": \"${PULL:-registry.invalid/library/nothing}\"}"
may "$control/Push" "{\"model\": \"${PUSH:-registry.invalid/library/nothing}\"}"
may "$control/CreateFromPath" "{\"model\": \"example-create\", \"path\": \"${CREATE:-/models/model.gguf}\"}"

# The operation of the first call that is kept: followed from its beginning, and cancelled, which an ended one ignores.
kept=$(call "$operations/List" '{"pageSize": 1}' | sed -n 's/.*"operationId": "\([^"]*\)".*/\1/p' | head -n 1)
call "$operations/Get" "{\"operationId\": \"$kept\"}"
call "$operations/Watch" "{\"operationId\": \"$kept\", \"afterSequence\": 0}"
call "$operations/Cancel" "{\"operationId\": \"$kept\"}"

# Health: everything configured, the process, the services, each backend, each model.
for name in '' liveness "$control" "$operations"; do
    call grpc.health.v1.Health/Check "{\"service\": \"$name\"}"
done
call grpc.health.v1.Health/List
