#!/usr/bin/env bash
# uv.sh VENV PYTHON: make an environment with the locked uv in it. pip installs uv by hash, once: what it gave is kept
# under the hash of its lock, because ensurepip and pip take ten seconds that every fresh clone would pay again.
set -euo pipefail
venv=$1 python=$2 lock=requirements/uv.txt
named=$("$python" -c 'import hashlib, platform, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:16], platform.system(), platform.machine(), sep="-")' "$lock")
kept=${FLIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flightline}/uv/$named

if [ -x "$kept/uv" ]; then
  "$python" -m venv --without-pip "$venv"
  cp "$kept/uv" "$venv/bin/uv"
  exit
fi
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --require-hashes -r "$lock"
mkdir -p "$kept"
cp "$venv/bin/uv" "$kept/.uv.$$"
mv "$kept/.uv.$$" "$kept/uv"
