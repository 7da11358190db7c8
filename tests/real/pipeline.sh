#!/usr/bin/env bash
# The reference pipeline on parts that are not Towpath's own: hand-made bare repositories, Debian's
# docker-registry filled by skopeo, and plain git for what people do. Asserts each fact with git,
# curl and jq. Usage: pipeline.sh PATH_OF_TOWPATH
set -euo pipefail
towpath=$(realpath "$1")
here=$(mktemp -d)
registry_pid=
cleanup() {
  [ -n "$registry_pid" ] && kill "$registry_pid" 2>/dev/null && wait "$registry_pid" 2>/dev/null
  rm -rf "$here"
}
trap cleanup EXIT
cd "$here"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME="$here" XDG_CACHE_HOME="$here/cache"
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
unset TOWPATH_CONFIG
failures=0
is() { # is WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then echo "ok   $1: $3"; else echo "FAIL $1: expected $2, got $3"; failures=$((failures + 1)); fi
}

# A registry on a port that the system picks.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > registry.yml <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $here/registry }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$port", secret: testbed }
log: { level: error }
YAML
docker-registry serve registry.yml >registry.log 2>&1 &
registry_pid=$!
for _ in $(seq 100); do curl -fs "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
image=127.0.0.1:$port/acme/shop

push() { # push TAG CREATED: one tiny image whose content is its tag
  local layout=layout-$1
  mkdir -p "$layout/blobs/sha256" && printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
  blob() { local sum; sum=$(sha256sum "$1" | cut -d' ' -f1); cp "$1" "$layout/blobs/sha256/$sum"; echo "$sum"; }
  mkdir "files-$1" && echo "$1" > "files-$1/version"
  tar --sort=name --mtime=@0 --owner=0 --group=0 -C "files-$1" -cf layer.tar . && gzip -n -c layer.tar > layer.tgz
  local diff layer config manifest
  diff=$(sha256sum layer.tar | cut -d' ' -f1); layer=$(blob layer.tgz)
  jq -cn --arg created "$2" --arg diff "sha256:$diff" \
    '{created: $created, architecture: "amd64", os: "linux", config: {}, rootfs: {type: "layers", diff_ids: [$diff]}}' > config.json
  config=$(blob config.json)
  jq -cn --arg c "sha256:$config" --arg l "sha256:$layer" --argjson cs "$(stat -c%s config.json)" --argjson ls "$(stat -c%s layer.tgz)" \
    '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs},
      layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $l, size: $ls}]}' > manifest.json
  manifest=$(blob manifest.json)
  jq -cn --arg m "sha256:$manifest" --argjson ms "$(stat -c%s manifest.json)" --arg tag "$1" \
    '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $ms,
      annotations: {"org.opencontainers.image.ref.name": $tag}}]}' > "$layout/index.json"
  skopeo --policy policy.json copy -q --dest-tls-verify=false "oci:$layout:$1" "docker://$image:$1"
  echo "sha256:$manifest"
}
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > policy.json

# The infra repositories, as people make them.
baseline=$(push v1.3.0 2026-01-01T00:00:00Z)
for environment in staging qa production; do
  git init -q --bare -b master "$environment.git"
  git clone -q "$environment.git" work 2>/dev/null
  mkdir -p work/kubernetes/{deployments,services}
  cat > work/kubernetes/deployments/shop.yaml <<YAML
# The shop. Towpath changes nothing here but the image.
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  template:
    spec:
      containers:
        - name: shop
          image: "$image:v1.3.0@$baseline"   # $environment
YAML
  printf 'apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n' > work/kubernetes/services/shop.yaml
  git -C work add . && git -C work commit -qm "the shop in $environment" && git -C work push -q origin HEAD:master
  rm -rf work
done

mkdir -p config/{staging,qa,production,applications}
write_environment() { # write_environment NAME FOLLOW GATE FAIL
  cat > "config/$1/environment.yaml" <<YAML
repository: { url: file://$here/$1.git, branch: master }
manifests: [kubernetes]
cluster: { simulated: { ready-after: 200ms, fail: [$4] } }
follow: $2
gate: $3
YAML
}
bad=v1.5.0
write_environment staging '{ branches: ["*", "!master"] }' none ''
write_environment qa '{ tags: ">=1.0.0" }' none "$bad"
write_environment production '{ environment: qa, soak: 2s }' branch "$bad"
cat > config/applications/shop.yaml <<YAML
applications:
  - name: shop
    images:
      - { repository: $image, branch-tag: "{branch}-{commit:7}", release-tag: "{tag}" }
    environments: [staging, qa, production]
YAML
echo 'poll: { git: 1s, registry: 1s }' > config/towpath.yaml

run() { local code=0; "$towpath" --config config run --once --wait 2m > run.log 2>run.err || code=$?; echo $code; }
wanted() { git --git-dir="$1.git" show "master:kubernetes/deployments/shop.yaml" | sed -n 's/.*image: "\(.*\)" .*/\1/p'; }
present() { git --git-dir="$1.git" show "refs/notes/towpath/$1:present/applications/shop" | jq -r "$2"; }
tags() { git --git-dir="$1.git" for-each-ref --format='%(refname:short) %(contents:subject)' refs/tags | sort; }

"$towpath" --config config check >/dev/null
is "adoption settles" 0 "$(run)"
for environment in staging qa production; do
  is "$environment adopted the baseline healthy" "deployment-0001 Successfully Deployed" "$(tags $environment)"
done

staged=$(push feature-abc1234 2026-01-02T00:00:00Z)
is "a branch image settles" 0 "$(run)"
is "staging wants the branch image" "$image:feature-abc1234@$staged" "$(wanted staging)"
is "qa does not" "$image:v1.3.0@$baseline" "$(wanted qa)"

tagged=$(push v1.4.0 2026-01-03T00:00:00Z)
is "a tag waits for a person only" 0 "$(run)"
is "qa wants the tag" "$image:v1.4.0@$tagged" "$(wanted qa)"
is "production still runs the old one" "$image:v1.3.0@$baseline" "$(wanted production)"
is "the proposal carries the tag" "$image:v1.4.0@$tagged" \
  "$(git --git-dir=production.git show towpath/production/shop:kubernetes/deployments/shop.yaml | sed -n 's/.*image: "\(.*\)" .*/\1/p')"
is "it is one commit" 1 "$(git --git-dir=production.git rev-list --count master..towpath/production/shop)"
is "only the image's bytes differ" 1 "$(git --git-dir=production.git diff --numstat master towpath/production/shop | awk '{print $1}')"

git clone -q production.git person 2>/dev/null
git -C person merge -q --no-ff -m "Merge 1.4.0" origin/towpath/production/shop && git -C person push -q origin master
is "the merge settles" 0 "$(run)"
is "production wants the tag" "$image:v1.4.0@$tagged" "$(wanted production)"
is "the proposal branch is gone" "" "$(git --git-dir=production.git for-each-ref refs/heads/towpath/)"
is "production recorded it" "merge" "$(present production 'select(.record=="deployment" and .number==2) | .cause')"
is "and tagged it" "deployment-0002 Successfully Deployed" "$(tags production | tail -1)"

broken=$(push $bad 2026-01-04T00:00:00Z)
is "a bad tag ends held" 3 "$(run)"
is "qa wants the bad tag" "$image:$bad@$broken" "$(wanted qa)"
is "qa says it failed" "deployment-0003 Failed Deployment" "$(tags qa | tail -1)"
is "it is not proposed" "" "$(git --git-dir=production.git for-each-ref refs/heads/towpath/)"
is "explain names it" failed "$("$towpath" --config config explain shop qa -o json | jq -r '.[0].state')"

good=$(push v1.5.1 2026-01-05T00:00:00Z)
is "a newer good tag goes through" 0 "$(run)"
is "qa is healthy again" "deployment-0004 Successfully Deployed" "$(tags qa | tail -1)"
git -C person fetch -q && git -C person merge -q --squash origin/towpath/production/shop >/dev/null && git -C person commit -qm "Squash 1.5.1" && git -C person push -q origin master
is "a squash merge settles" 0 "$(run)"
is "production wants it" "$image:v1.5.1@$good" "$(wanted production)"
is "production is healthy" "deployment-0003 Successfully Deployed" "$(tags production | tail -1)"

before=$(for environment in staging qa production; do git --git-dir=$environment.git for-each-ref; done | sha256sum)
is "another run settles" 0 "$(run)"
is "and writes nothing" "$before" "$(for environment in staging qa production; do git --git-dir=$environment.git for-each-ref; done | sha256sum)"
for environment in staging qa production; do git --git-dir=$environment.git fsck --strict 2>&1 | grep -v '^dangling' && failures=$((failures + 1)); done
git --git-dir=production.git log --notes='towpath/*' -3 > log.txt && grep -q '"verdict":"healthy"' log.txt && echo "ok   git log --notes shows the records"
[ "$failures" = 0 ] || { echo "$failures failures"; cat run.err | tail -20; exit 1; }
echo "all facts hold"
