# syntax=docker/dockerfile:1
# The training image: interpreter, git and the locked packages of every verb that retrains. It holds no code of this
# project: each step brings main's own. Built by `flightline retraining image`.
ARG BASE_IMAGE=pinned

# A stage of its own, as Dependabot reads no ARG; unused where BASE_IMAGE names another.
FROM docker.io/library/python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS pinned

FROM ${BASE_IMAGE} AS dependencies
# hadolint ignore=DL3008
RUN python3 -m pip --version || { apt-get update && apt-get install --yes --no-install-recommends python3-pip; }
COPY requirements /app/requirements
# The optional secrets are those of the code image.
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    if [ -s /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \
    python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --no-deps --target=/app/lib \
    --requirement=/app/requirements/train.txt --requirement=/app/requirements/gate.txt \
    --requirement=/app/requirements/deliver.txt --requirement=/app/requirements/monitor.txt

FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends git ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=dependencies /app/lib /app/lib
COPY requirements /app/requirements
COPY infra/images/retrain.sh /app/retrain.sh
COPY infra/images/flightline.sh /usr/local/bin/flightline
ENV LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1
LABEL org.opencontainers.image.title="flightline-training" \
      org.opencontainers.image.description="Retrains on a cluster, with main's own code" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /workspace
USER 65532:65532
ENTRYPOINT ["/app/retrain.sh"]
