#!/usr/bin/env bash
# Runs the runbook: every block of docs/operating.md that is marked `sh try`, in order, in an empty
# folder, on ports that the system picks. Usage: operating.sh PATH_OF_TOWPATH
set -euo pipefail
page=$(realpath "$(dirname "$0")/../../docs/operating.md")
towpath=$(realpath "$1")
here=$(mktemp -d)
blocks=$(mktemp)
cleanup() {
  # What the page stopped itself is gone already.
  for pid in "$here"/*.pid; do if [ -e "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi; done
  rm -rf "$here" "$blocks" || true
}
trap cleanup EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
sed -n '/^```sh try$/,/^```$/p' "$page" | grep -v '^```' \
  | sed "s/127\.0\.0\.1:5000/127.0.0.1:$(free_port)/g; s/127\.0\.0\.1:8080/127.0.0.1:$(free_port)/g" > "$blocks"
mkdir "$here/bin" && ln -s "$towpath" "$here/bin/towpath"
cd "$here"
export PATH="$here/bin:$PATH" HOME="$here" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
unset TOWPATH_CONFIG
bash -euo pipefail ${VERBOSE:+-v} "$blocks" 2>&1
# What the page says of this run, and a reader would miss.
[ "$(git -C production.git tag | wc -l)" = 5 ] || { echo "production has other deployments than told"; exit 1; }
git -C production.git log --notes='towpath/*' | grep '"record":"unpinned"' >/dev/null || { echo "the pin did not end"; exit 1; }
[ "$(git -C qa.git tag -n | grep -c 'Failed Deployment')" = 1 ] || { echo "qa did not fail once"; exit 1; }
echo "the runbook holds"
