# syntax=docker/dockerfile:1

# One image for every role: `docker run hoplog serve`, `… collect`, `… migrate`.
#
#   docker build --tag hoplog .                       what a cluster runs: the binary, nothing else
#   docker build --tag hoplog:up --target hoplog-up . with the ClickHouse library (566 MB), for `hoplog up` and `engine`
#
# Base images are pinned by version; whoever needs the very same bytes pins digests with --build-context.

# toolchain is what builds. librdkafka and OpenSSL are compiled from source: C, C++, make, and perl with its modules.
FROM rust:1.95.0-slim-bookworm AS toolchain
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/* \
    && cargo install --locked cargo-chef@0.1.78
WORKDIR /src
# Lines for backtraces stay in the binary for people who debug; an image has names of functions, and a third of the size.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo

# recipe is the list of dependencies: it changes with manifests and lock file only, and so does what is compiled from it.
FROM toolchain AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# build makes the binary.
FROM toolchain AS build
COPY --from=recipe /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --package hoplog --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package hoplog

# build-xtask makes what knows the ClickHouse library's version and checksum.
FROM build AS build-xtask
RUN cargo build --release --locked --package xtask

# engine is the ClickHouse library. Where no checksum is pinned for a platform, it has to be given.
FROM node:22.20.0-bookworm-slim AS engine
ARG HOPLOG_ENGINE_SHA256
COPY --from=build-xtask /src/target/release/xtask /usr/local/bin/xtask
RUN HOPLOG_CACHE_DIR=/cache xtask engine && mv /cache/engine/*/libchdb.so /libchdb.so && rm -r /cache

# base is what runs. `ca-certificates` is for Kafka over TLS.
FROM debian:bookworm-20260918-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 hoplog \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/hoplog --shell /usr/sbin/nologin hoplog \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/hoplog
COPY --from=build /src/target/release/hoplog /usr/local/bin/hoplog
# All state that a role has of its own; a volume belongs here.
ENV HOPLOG_DATA=/var/lib/hoplog
WORKDIR /var/lib/hoplog
USER 10001:10001
# Redirects and management, ops of serve, ops of collect, OTLP: each role listens on loopback until it is told otherwise.
EXPOSE 8080 8081 8082 8083
ENTRYPOINT ["hoplog"]

# hoplog-up is everything on one machine, in one container.
FROM base AS hoplog-up
COPY --from=engine /libchdb.so /usr/local/lib/libchdb.so
ENV HOPLOG_ENGINE__LIBRARY=/usr/local/lib/libchdb.so \
    HOPLOG_SERVE__LISTEN=0.0.0.0:8080
CMD ["up"]

# hoplog is what `docker build` makes, being the last.
FROM base AS hoplog
CMD ["--help"]
