# Sourced with a page of docs and Towpath's path: runs every block of the page that is marked `sh try`, in
# order, in an empty folder, on ports that the system picks. What they print is in `out`.
set -euo pipefail
page=$(realpath "$(dirname "$0")/../../docs/$1")
towpath=$(realpath "$2")
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
export PATH="$here/bin:$PATH" HOME="$here" GIT_CONFIG_GLOBAL="$here/.gitconfig" GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
unset TOWPATH_CONFIG
timeout 300 bash -euo pipefail ${VERBOSE:+-v} "$blocks" > out 2>&1 || { cat out; tail -20 run.log; exit 1; }
