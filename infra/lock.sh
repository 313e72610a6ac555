#!/usr/bin/env bash
# Resolve every environment into requirements/*.txt: dev.txt holds them all, so the others take its versions.
set -euo pipefail
cd "$(dirname "$0")/../requirements"

lock() {
  ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --custom-compile-command 'make lock' "$@"
}

lock dev.in -o dev.txt
for environment in train gate deliver serve record monitor; do
  lock "$environment.in" -c dev.txt -o "$environment.txt"
done
lock uv.in -o uv.txt
# The peers of `make bench` and the scanners of `make validate` live in environments of their own.
lock bench.in -o bench.txt
lock scan.in -o scan.txt
lock bench-mlserver.in -o bench-mlserver.txt
