# The whole test suite in a container, and nothing else. It is no stage of the service's Dockerfile, because older builders make
# every stage that comes before the one that is asked for.

FROM rust:1.95-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends softhsm2 libnss3 libnss3-tools libclang1 openssl perl make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 strongroom \
 && install -d -o strongroom -g strongroom /suite \
 && chown -R strongroom: "$CARGO_HOME"
USER strongroom
WORKDIR /suite
# Before all else, so that it is not built anew with each change.
COPY --chown=strongroom:strongroom softhsm/kryoptic softhsm/
COPY --chown=strongroom:strongroom scripts/lib.sh scripts/
COPY --chown=strongroom:strongroom tests/kryoptic tests/kryoptic
RUN softhsm/kryoptic
COPY --chown=strongroom:strongroom . .
RUN cargo fetch --locked
CMD ["scripts/test"]
