# The one entry: CI calls the same recipes. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Warnings are errors here; a plain `cargo build` stays friendly.
export RUSTDOCFLAGS := "-D warnings"

[private]
default:
    @just --list --unsorted

# everything that must hold before a change is taken; the tests come last
verify: fmt changes lint doc deny machete proto test

# the code is formatted
fmt:
    cargo fmt --check

# what is told of changes can be released, and what cannot is refused (needs towncrier)
changes:
    tools/release/changes

# clippy finds nothing, in all targets, and in what is built without its optional parts
lint:
    cargo clippy --locked --quiet --all-targets -- -D warnings
    cargo clippy --locked --quiet --no-default-features --lib --bins -- -D warnings

# the documentation builds, links and all
doc:
    cargo doc --locked --quiet --no-deps --document-private-items

# dependencies: doubled versions, licences, sources (needs cargo-deny)
deny:
    cargo deny --locked --log-level error check bans licenses sources

# the fuzz targets compile (needs g++), and their lock is whole: `cargo update -w --manifest-path fuzz/Cargo.toml` mends it
fuzz:
    cargo check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"

# no dependency is unused (needs cargo-machete)
machete:
    cargo machete

# the protocol is documented, and breaks no client of the last release (needs buf)
proto:
    buf lint
    buf format --diff --exit-code
    buf breaking --against proto/released.binpb

# the chart: rendered, refused, tested, and its probes answered by the program (tools/chart/check says what it needs)
chart python="python3":
    cargo build --locked --quiet
    tools/chart/check "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/model-control" {{ python }}
    {{ python }} tools/chart/probes "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/model-control"

# the chart's life on a real Kubernetes API server, whose programs are or will be in that folder
kube programs python="python3":
    {{ python }} tools/chart/cluster {{ programs }}

# the image, of a static program; with a llama-server the flavour that has one, too (needs root, buildah, hadolint)
image llama_server="":
    hadolint Dockerfile
    cargo build --locked --quiet --profile dist --target "$(uname -m)-unknown-linux-musl"
    tools/image/check "$(realpath "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-musl/dist/model-control" {{ llama_server }}

# every example runs against the program (needs buf, go, grpcurl, openssl, and the packages of examples/python/requirements.txt)
examples python="python3":
    cargo build --locked --quiet
    tools/examples/check "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/model-control" {{ python }}

# all tests
test *args:
    cargo test --locked {{ args }}

# the one suite of all engines; `just conformance ollama::pull` runs a part of it
conformance *args:
    cargo test --locked --test conformance -- {{ args }}

# metrics, alerts and the dashboard, by the real promtool and Prometheus (needs Debian's package prometheus)
prometheus:
    cargo build --locked --quiet
    tools/prometheus/check "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/model-control"

# the dashboards are some by Grafana's published types (needs a node_modules with @grafana/schema and typescript)
dashboard modules:
    tools/dashboard/check {{ modules }}

# the benchmarks, of the program as it is shipped; ratios and figures, nothing is asserted
bench *args:
    cargo build --locked --profile dist
    MODEL_CONTROL_BENCH_PROGRAM="$(realpath "${CARGO_TARGET_DIR:-target}")/dist/model-control" \
        cargo bench --locked {{ args }}

# figures that no benchmark has, of the program as it is shipped (needs the packages of examples/python/requirements.txt, and helm)
figures python="python3":
    cargo build --locked --quiet --profile dist --target "$(uname -m)-unknown-linux-musl"
    {{ python }} tools/figures/measure "$(realpath "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-musl/dist/model-control"

# formats the code and the protocol
tidy:
    cargo fmt
    buf format --write

# writes what is generated of the chart: its README, and its schema of configs.yaml (needs helm-docs)
chart-files:
    cargo build --locked --quiet
    tools/chart/schema "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/model-control"
    helm-docs --chart-search-root helm/model-control --sort-values-order file

# the models of the repository are what their generator makes (needs the packages of tools/models/requirements.txt)
model python="python3":
    out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT && \
        export PYTHONDONTWRITEBYTECODE=1 && \
        {{ python }} tools/models/make_gguf.py "$out/tiny.gguf" --type Q8_0 2> /dev/null && \
        {{ python }} tools/models/make_gguf.py "$out/caller.gguf" --type Q8_0 --tool-call --name tiny-caller \
            --layers 1 --ff 32 2> /dev/null && \
        cmp "$out/tiny.gguf" models/tiny.gguf && cmp "$out/caller.gguf" models/caller.gguf

# takes the protocol as it is for what the last release had; run it when a release is made
release-proto:
    buf build --exclude-source-info --output proto/released.binpb

# moves changes/ into CHANGELOG.md, as the section of this version, of today; run it when a release is made (needs towncrier)
changelog: changes
    towncrier build --yes --version "$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)"

# what is released, in dist/: binary, chart, images, SBOM, notes, checksums; says what it had to skip (tools/release/make)
release llama_server="":
    rm -rf dist
    MODEL_CONTROL_BUILD="$(git describe --always --dirty --abbrev=12)" \
        cargo build --locked --quiet --profile dist --target "$(uname -m)-unknown-linux-musl"
    tools/release/make "$(realpath "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-musl/dist/model-control" dist {{ llama_server }}
