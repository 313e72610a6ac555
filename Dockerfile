# syntax=docker/dockerfile:1
# checkov:skip=CKV_DOCKER_2:Kubernetes asks /livez and /readyz itself and ignores HEALTHCHECK
# checkov:skip=CKV_DOCKER_7:the base is named by digest, which checkov does not see behind BASE_IMAGE
# The code image: interpreter, locked dependencies and serving/. It holds no model; `flightline image append` adds one.
# Where the default base can be reached it is used; elsewhere `flightline image base` makes one. See docs/image.md.
ARG BASE_IMAGE=pinned

# A stage of its own, as Dependabot reads no ARG; unused where BASE_IMAGE names another.
FROM docker.io/library/python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS pinned

# pip runs here and is left here. Debian's Python comes without it.
FROM ${BASE_IMAGE} AS dependencies
# hadolint ignore=DL3008
RUN python3 -m pip --version || { apt-get update && apt-get install --yes --no-install-recommends python3-pip; }
COPY requirements/serve.txt /tmp/serve.txt
# The optional secrets: `ca`, the certificates of an inspecting proxy; `pip`, a pip.conf. Neither reaches a layer.
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    if [ -s /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \
    python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-compile \
    --only-binary=:all: --require-hashes --target=/app/lib --requirement=/tmp/serve.txt
COPY infra/images/trim.py /tmp/trim.py
RUN PYTHONHASHSEED=0 python3 /tmp/trim.py packages /app/lib
COPY serving /app/serving
RUN PYTHONHASHSEED=0 python3 /tmp/trim.py compile /app/serving

# What of the base is not needed to serve is taken out before the copy below, so that no layer holds it.
FROM ${BASE_IMAGE} AS system
COPY infra/images/trim.py /tmp/trim.py
RUN PYTHONHASHSEED=0 python3 /tmp/trim.py system && rm /tmp/trim.py

# Starting from nothing is the point: a base's own layers would keep what was taken out.
FROM scratch
# hadolint ignore=DL3067
COPY --from=system / /
COPY --from=dependencies /app/lib /app/lib
COPY --from=dependencies /app/serving /app/serving
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONPATH=/app:/app/lib \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    FLIGHTLINE_BUNDLE=/bundle \
    FLIGHTLINE_HOST=0.0.0.0
LABEL org.opencontainers.image.title="flightline" \
      org.opencontainers.image.description="Answers requests from a Flightline bundle" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "serving"]
