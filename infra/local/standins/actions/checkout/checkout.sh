# A pull request without `ref` is checked out as its merge into the base branch, which GitHub makes and Gitea does not.
set -euo pipefail

setting="http.$GITHUB_SERVER_URL/.extraheader"
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w0)"
# In the environment: an argument could be read by every process.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="$setting" GIT_CONFIG_VALUE_0="$header"

merge() {
  git init -q --bare "$1"
  git -C "$1" fetch -q "$remote" "+refs/heads/$GITHUB_BASE_REF:base" "+$GITHUB_SHA:head"
  local tree date
  tree=$(git -C "$1" merge-tree --write-tree base head) || { echo "the branch conflicts with $GITHUB_BASE_REF"; exit 1; }
  date=$(git -C "$1" show -s --format=%cI head)
  export GIT_AUTHOR_NAME=forge GIT_AUTHOR_EMAIL=forge@example.com GIT_AUTHOR_DATE="$date"
  export GIT_COMMITTER_NAME=forge GIT_COMMITTER_EMAIL=forge@example.com GIT_COMMITTER_DATE="$date"
  git -C "$1" branch -f merge "$(git -C "$1" commit-tree "${tree%%$'\n'*}" -p base -p head -m "Merge $GITHUB_SHA into $GITHUB_BASE_REF")"
}

remote="$GITHUB_SERVER_URL/$REPOSITORY"
mkdir -p "$GITHUB_WORKSPACE/$FOLDER"
cd "$GITHUB_WORKSPACE/$FOLDER"
git init -q .
git remote add origin "$remote"
depth=()
if [ "$DEPTH" = 0 ]; then
  git fetch -q origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
else
  depth=("--depth=$DEPTH")
fi

# Git also lists what only ends so: a branch may be called a/refs/heads/main.
is_branch() { git ls-remote -q origin "$1" | cut -f2 | grep -xF "$1" >/dev/null; }

branch=
if [ -z "$REF" ] && [ "$REPOSITORY" = "$GITHUB_REPOSITORY" ]; then
  if [ "$GITHUB_EVENT_NAME" = pull_request ]; then
    merge "$RUNNER_TEMP/merge-$$.git"
    git fetch -q "${depth[@]}" "file://$RUNNER_TEMP/merge-$$.git" "+merge:refs/remotes/pull/merge"
  else
    git fetch -q --no-tags "${depth[@]}" origin "$GITHUB_SHA"
    case "$GITHUB_REF" in refs/heads/*) branch="${GITHUB_REF#refs/heads/}" ;; esac
  fi
elif [ -z "$REF" ] || is_branch "refs/heads/${REF#refs/heads/}"; then
  branch="${REF#refs/heads/}"
  [ -n "$branch" ] || branch=$(git ls-remote -q --symref origin HEAD | sed -n 's|^ref: refs/heads/\(.*\)\tHEAD$|\1|p')
  git fetch -q --no-tags "${depth[@]}" origin "refs/heads/$branch"
else
  git fetch -q --no-tags "${depth[@]}" origin "$REF"
fi
commit=$(git rev-parse FETCH_HEAD)
if [ -n "$branch" ]; then
  git update-ref "refs/remotes/origin/$branch" "$commit"
  git checkout -q -B "$branch" "refs/remotes/origin/$branch"
else
  git checkout -q --detach "$commit"
fi
if [ "$PERSIST" = true ]; then
  git config --local "$setting" "$header"
fi
git log -1 --format='%H %s'
