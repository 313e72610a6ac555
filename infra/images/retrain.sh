#!/bin/sh
# The training image's entry point: brings main to /workspace and runs its own `flightline` on the image's packages.
set -eu
work=${FLIGHTLINE_WORK:-/workspace}
app=${FLIGHTLINE_APP:-/app}
mkdir -p "$work/home" "$work/scratch"
# No account has the user of these pods, and the image is read-only: DVC asks for a name, and keeps a cache by itself.
export USER="${USER:-retraining}" DVC_SITE_CACHE_DIR="$work/dvc"

# In git's environment alone: arguments and files are read by others.
if [ -n "${FLIGHTLINE_TOKEN:-}" ]; then
  GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'x-access-token:%s' "$FLIGHTLINE_TOKEN" | base64 | tr -d '\n')"
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0
fi
if [ -d "$work/main/.git" ]; then
  git -C "$work/main" fetch --quiet origin "+refs/heads/$FLIGHTLINE_BRANCH:refs/remotes/origin/$FLIGHTLINE_BRANCH"
  git -C "$work/main" reset --quiet --hard "origin/$FLIGHTLINE_BRANCH"
else
  # Whole or not at all: a killed clone is no checkout.
  rm -rf "$work/arriving"
  git clone --quiet --branch "$FLIGHTLINE_BRANCH" "$FLIGHTLINE_REPOSITORY" "$work/arriving"
  mv "$work/arriving" "$work/main"
fi
unset GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0

cd "$work/main"
# Figures of a retraining depend on the packages. What takes log and labels must not stop at every merged update.
case "${1:-}" in
  log | labels | exporter) word=warning ;;
  *) word=error ;;
esac
for lock in train gate deliver monitor; do
  if ! cmp -s "requirements/$lock.txt" "$app/requirements/$lock.txt"; then
    echo "$word: this image has other packages than requirements/$lock.txt of main; build it anew: flightline retraining image --pin" >&2
    [ "$word" = warning ] || exit 64
  fi
done
if [ -n "${FLIGHTLINE_DVC_LOCAL:-}" ]; then
  (umask 077 && printf '%s\n' "$FLIGHTLINE_DVC_LOCAL" > .dvc/config.local)
fi
PYTHONPATH="$PWD:$app/lib" exec flightline "$@"
