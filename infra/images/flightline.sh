#!/bin/sh
# `flightline` of whatever checkout PYTHONPATH begins with.
exec python3 -c 'from pipeline.cli import main; main()' "$@"
