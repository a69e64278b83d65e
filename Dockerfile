# Two flavours of one image:
#
#   docker build .                  the program alone: embedded models are kept, not run
#   docker build --target llama .   with llama.cpp's llama-server, which runs them
#
# No shell, no package manager, not root. Whoever publishes an image pins the bases by digest, in the arguments below.

# Alpine's Rust links statically by itself, so that the program runs on nothing.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-alpine3.22
ARG LLAMA_BUILD_IMAGE=docker.io/library/alpine:3.22
ARG RUNTIME_IMAGE=scratch
# `prebuilt` takes what was built before out of the context's root, and builds nothing.
ARG FILES=built
ARG LLAMA_FILES=llama-built

FROM ${RUST_IMAGE} AS chef
# The image has the toolchain of rust-toolchain.toml; its components are for checks.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
RUN cargo install cargo-chef --version 0.1.78 --locked

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS built
# Dependencies first: they are built again only when they change.
COPY --from=planner /src/recipe.json recipe.json
RUN cargo chef cook --locked --profile dist --recipe-path recipe.json
COPY . .
ARG REVISION=unknown
RUN MODEL_CONTROL_BUILD="${REVISION}" cargo build --locked --profile dist --bin model-control \
    && mkdir -p /files/data \
    && cp target/dist/model-control /etc/ssl/certs/ca-certificates.crt /files/

FROM ${LLAMA_BUILD_IMAGE} AS llama-built
ARG LLAMA_VERSION=b11434
WORKDIR /src
# hadolint ignore=DL3018
RUN apk add --no-cache cmake g++ linux-headers make
ADD https://github.com/ggml-org/llama.cpp/archive/refs/tags/${LLAMA_VERSION}.tar.gz llama.tar.gz
# Static, and with threads that have as much stack as elsewhere: musl gives them what the program's header says.
RUN tar -xzf llama.tar.gz --strip-components=1 \
    && cmake -B build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DCMAKE_EXE_LINKER_FLAGS="-static -s -Wl,-z,stack-size=8388608" \
        -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    && cmake --build build --target llama-server --parallel "$(nproc)" \
    && mkdir -p /files/llama/usr/local/bin \
    && cp build/bin/llama-server /files/llama/usr/local/bin/

FROM scratch AS prebuilt
COPY . /files/

FROM ${FILES} AS files

FROM ${LLAMA_FILES} AS llama-files

FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="model-control" \
      org.opencontainers.image.description="Makes models present, verified, loaded and provably ready on LLM engines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=files /files/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=files /files/model-control /usr/local/bin/model-control
# All that it writes: /var/lib/model-control, with the models of the embedded store and the state.
COPY --from=files --chown=65532:65532 /files/data /var/lib/model-control
ENV PATH=/usr/local/bin \
    XDG_DATA_HOME=/var/lib \
    MODEL_CONTROL_STATE_DIR=/var/lib/model-control/state
USER 65532:65532
WORKDIR /var/lib/model-control
VOLUME ["/var/lib/model-control"]
EXPOSE 50051 50052 9090
ENTRYPOINT ["/usr/local/bin/model-control"]
CMD ["serve"]

FROM runtime AS llama
COPY --from=llama-files /files/llama/ /

# The last one is what is built unless another is asked for.
FROM runtime AS plain
