#!/usr/bin/env bash
# Finds every fact of the demo's summary again, in the directory that `towpath demo --keep` left:
#
#   towpath demo --keep DIRECTORY && tests/demo/verify.sh DIRECTORY
#
# Uses git, jq and sha256sum alone (and skopeo, where it is installed, to read the images). The
# repositories are read as any person can read them: refs, commits, notes, tags, OCI layouts.
# Prints each fact that is not as the summary says and exits with 1; exits with 2 where it cannot look.
set -euo pipefail
export LC_ALL=C GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1

directory=${1:?usage: verify.sh DIRECTORY [SUMMARY]}
summary=${2:-$directory/summary.json}
command -v jq >/dev/null || { echo "jq is not installed" >&2; exit 2; }
[ -f "$summary" ] || { echo "there is no $summary: keep the directory with --keep" >&2; exit 2; }

manifest=kubernetes/deployments/pipeline-application.yaml

# Every ref: its name, what it points to, what a tag names, and the tag's whole message.
refs() {
    git -C "$1" for-each-ref --format='%(refname)%1f%(objectname)%1f%(*objectname)%1f%(contents)%1e' |
        jq -Rs '[split("\u001e\n")[] | select(. != "") | split("\u001f")
            | { name: .[0], id: .[1], tagged: .[2], message: .[3] }]'
}

# Every record: the note it stands in, and the record.
records() {
    git -C "$1" grep -e . "refs/notes/towpath/$2" -- ':!present' |
        jq -Rs '[split("\n")[] | select(. != "")
            | capture("^[^:]*:(?<note>[^:]*):(?<record>.*)$")
            | { note: (.note | gsub("/"; "")), record: (.record | fromjson) }]'
}

# The branch by first parents, newest first, each commit with the image that it names.
commits() {
    local listed
    listed=$(git -C "$1" rev-list --first-parent refs/heads/master)
    # shellcheck disable=SC2086 # each commit is a word
    git -C "$1" grep -e '^ *image: ' $listed -- "$manifest" |
        jq -Rs --arg listed "$listed" '
            [split("\n")[] | select(. != "")
                | capture("^(?<commit>[0-9a-f]*):[^:]*: *image: (?<image>[^ ]*)")] as $images
            | [$listed | split("\n")[] as $commit
                | { commit: $commit, image: first($images[] | select(.commit == $commit) | .image) }]'
}

# Every image that was pushed: the digest of its manifest, and what its configuration says.
images() {
    local layout tag body digest config
    for layout in "$directory"/images/*/; do
        tag=$(basename "$layout")
        digest=$(jq -r '.manifests[0].digest' "$layout/index.json")
        body="$layout/blobs/sha256/${digest#sha256:}"
        config=$(jq -r '.config.digest' "$body")
        if ! (cd "$layout/blobs/sha256" && sha256sum --quiet --check 2>/dev/null \
            <<<"${digest#sha256:}  ${digest#sha256:}"$'\n'"${config#sha256:}  ${config#sha256:}"); then
            digest="not the digest of what lies there"
        fi
        if [ -n "${VERIFY_WITH_SKOPEO:-}" ] && command -v skopeo >/dev/null; then
            digest=$(skopeo inspect --format '{{.Digest}}' "oci:$layout:$tag")
        fi
        jq --arg tag "$tag" --arg digest "$digest" \
            '{ release: $tag, digest: $digest, commit: .config.Labels["org.opencontainers.image.revision"] }' \
            "$layout/blobs/sha256/${config#sha256:}"
    done | jq -s .
}

# One infra repository with all of this, read anew.
environment() {
    local repository="$directory/git/pipeline-application-infra-$1.git"
    jq -n --arg environment "$1" \
        --rawfile states <(git -C "$repository" rev-list "refs/notes/towpath/$1") --slurpfile refs <(refs "$repository") \
        --slurpfile records <(records "$repository" "$1") --slurpfile commits <(commits "$repository") \
        '{ environment: $environment, refs: $refs[0], records: $records[0], commits: $commits[0],
            states: ($states | split("\n")) }'
}

# What brought or speaks of a text in production, on any branch, in any record, in any tag.
traces() {
    local repository="$directory/git/pipeline-application-infra-production.git" text
    for text in "$@"; do
        git -C "$repository" log --all -m --format=%H -S"$text"
        git -C "$repository" log --all -F --format=%H --grep="$text"
        git -C "$repository" for-each-ref --format='%(refname) %(contents)' | grep -F -e "$text" || true
    done | jq -Rs 'split("\n") | map(select(. != ""))'
}

failed=$(jq '[.releases[] | select(any(.environments[]; .verdict == "failed")) | .release, .digest]' "$summary")
mapfile -t texts < <(jq -r '.[]' <<<"$failed")

jq -rn --slurpfile summary "$summary" \
    --slurpfile staging <(environment staging) --slurpfile qa <(environment qa) \
    --slurpfile production <(environment production) --slurpfile images <(images) \
    --slurpfile source <(refs "$directory/git/pipeline-application.git") \
    --slurpfile traces <(traces "${texts[@]}") \
    -f "$(dirname "$0")/verify.jq" |
    {
        wrong=0
        checked=none
        while IFS= read -r line; do
            case $line in
                "checked "*) checked=${line#checked } ;;
                *) wrong=1 && echo "$line" ;;
            esac
        done
        # Without its last line the comparison did not come to its end.
        [ "$checked" != none ] || { echo "the facts could not be compared" && exit 2; }
        [ $wrong = 0 ] || exit 1
        echo "$checked facts, all as the summary says"
    }
