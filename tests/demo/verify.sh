#!/usr/bin/env bash
# Finds every fact of the demo's summary again, in the directory that `towpath demo --keep` left:
#
#   towpath demo --keep DIRECTORY && tests/demo/verify.sh DIRECTORY
#
# Uses git, jq and sha256sum alone; with VERIFY_WITH_SKOPEO=1 skopeo says the images' digests. The
# repositories are read as any person can read them: refs, commits, notes, tags, OCI layouts.
# Prints each fact that is not as the summary says and exits with 1; exits with 2 where it cannot look.
set -euo pipefail
export LC_ALL=C GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1

directory=${1:?usage: verify.sh DIRECTORY [SUMMARY]}
summary=${2:-$directory/summary.json}
here=$(cd "$(dirname "$0")" && pwd)
command -v jq >/dev/null || { echo "jq is not installed" >&2; exit 2; }
[ -f "$summary" ] || { echo "there is no $summary: keep the directory with --keep" >&2; exit 2; }

# With --github production's lies there.
infra() {
    local served=git
    [ "$1" = production ] && [ -d "$directory/github" ] && served=github/acme
    echo "$directory/$served/pipeline-application-infra-$1.git"
}

# Every ref: its name, what it points to, what a tag names, and the tag's whole message.
refs() { git -C "$1" for-each-ref --format='%(refname)%1f%(objectname)%1f%(*objectname)%1f%(contents)%1e'; }

# Every record, with the note that it stands in.
records() { git -C "$1" grep -e . "refs/notes/towpath/$2" -- ':!present'; }

# Every state of the records.
states() { git -C "$1" rev-list "refs/notes/towpath/$2"; }

# The branch by first parents, newest first.
history() { git -C "$1" rev-list --first-parent refs/heads/master; }

# The image that each commit of the branch names.
named() {
    local commits
    mapfile -t commits < <(history "$1")
    git -C "$1" grep -e '^ *image: ' "${commits[@]}" -- kubernetes/deployments/pipeline-application.yaml
}

# What brought or speaks of any of these texts in production: on any branch, in any record, in any tag.
traces() {
    local repository pattern
    repository=$(infra production)
    pattern=$(IFS='|' && echo "${*//./[.]}")
    git -C "$repository" log --all -m --format=%H --pickaxe-regex -S"$pattern"
    git -C "$repository" log --all --format=%H -E --grep="$pattern"
    refs "$repository" | grep -E -e "$pattern" || true
}

# Every blob of the images and what it hashes to.
blobs() { (cd "$directory/images" && sha256sum ./*/blobs/sha256/*); }

# What each layout names, and the JSON documents that it holds.
layouts() {
    cd "$directory/images"
    jq -c '{ layout: (input_filename | split("/")[1]), digest: .manifests[0].digest }' ./*/index.json
}

documents() {
    cd "$directory/images"
    # The layer is the one blob that is no JSON.
    grep -l -a -e '^{' ./*/blobs/sha256/* | xargs jq -c '{ path: input_filename, document: . }'
}

# With skopeo, each layout's digest as it sees it.
skopeo_digests() {
    [ -n "${VERIFY_WITH_SKOPEO:-}" ] || return 0
    local layout
    for layout in "$directory"/images/*/; do
        layout=$(basename "$layout")
        echo "$layout $(skopeo inspect --format '{{.Digest}}' "oci:$directory/images/$layout:$layout")"
    done
}

failed='.releases[] | select(any(.environments[]; .verdict == "failed")) | .release, .digest'
mapfile -t failed < <(jq -r "$failed" "$summary")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arguments=()
# Keeps what a command finds. Where it finds nothing, that is what is compared.
read_as() {
    local name=$1
    shift
    "$@" >"$work/$name" 2>"$work/$name.errors" &
    arguments+=(--rawfile "$name" "$work/$name")
}
for environment in staging qa production; do
    repository=$(infra "$environment")
    read_as "${environment}_refs" refs "$repository"
    read_as "${environment}_records" records "$repository" "$environment"
    read_as "${environment}_states" states "$repository" "$environment"
    read_as "${environment}_history" history "$repository"
    read_as "${environment}_named" named "$repository"
done
read_as application_refs refs "$directory/git/pipeline-application.git"
read_as traces traces "${failed[@]}"
read_as blobs blobs
read_as layouts layouts
read_as documents documents
read_as skopeo skopeo_digests
wait

compared=$(jq -rn --slurpfile summary "$summary" "${arguments[@]}" -f "$here/verify.jq") ||
    { echo "the facts cannot be compared" && exit 2; }
wrong=$(sed '$d' <<<"$compared")
if [ -n "$wrong" ]; then
    echo "$wrong"
    exit 1
fi
tail -n1 <<<"$compared"
