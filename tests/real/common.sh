# Shared by the scripts beside it: a registry, images, infra repositories and a configuration, none
# of them Towpath's own parts. Sourced with the path of towpath as first argument; works in a
# temporary folder that goes away. With `kubernetes` as second argument each environment has a real
# control plane (tests/testbed) instead of a simulated cluster; `clusters` names those that are started.
# Where `hooks` is set, the registry tells that port of this machine what is pushed, with the secret in `secret`.
set -euo pipefail
clusters=${clusters:-staging qa production}
hooks=${hooks:-}
towpath=$(realpath "$1")
testbed=$(realpath "$(dirname "$0")/../testbed")
here=$(mktemp -d)
registry_pid=
planes_pid=
cleanup() {
  if [ -n "$planes_pid" ]; then
    kill "$planes_pid" 2>/dev/null || true
    wait "$planes_pid" 2>/dev/null || true
  fi
  if [ -n "$registry_pid" ]; then
    kill "$registry_pid" 2>/dev/null || true
    wait "$registry_pid" 2>/dev/null || true
  fi
  rm -rf "$here"
}
trap cleanup EXIT
planes=
if [ "${2:-simulated}" = kubernetes ]; then
  planes=$here/planes
  # shellcheck disable=SC2086 # they are words
  "$testbed/up" "$planes" $clusters > "$here/planes.log" 2>&1 &
  planes_pid=$!
  for _ in $(seq 1200); do
    [ -e "$planes/pids" ] && break
    kill -0 "$planes_pid" 2>/dev/null || { cat "$here/planes.log"; exit 1; }
    sleep 0.5
  done
  KUBECONFIG=$(printf "$planes/%s.kubeconfig:" $clusters)
  export KUBECONFIG=${KUBECONFIG%:}
fi
cd "$here"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME="$here" XDG_CACHE_HOME="$here/cache"
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
unset TOWPATH_CONFIG
failures=0
is() { # is WHAT EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then echo "ok   $1: $3"; else echo "FAIL $1: expected $2, got $3"; failures=$((failures + 1)); fi
}

# A registry on a port that the system picks.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat > registry.yml <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $here/registry }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$port", secret: testbed }
log: { level: error }
YAML
if [ -n "$hooks" ]; then
  cat >> registry.yml <<YAML
notifications:
  endpoints:
    - name: towpath
      url: "http://127.0.0.1:$hooks/hooks/registry"
      headers: { Authorization: ["Bearer $secret"] }
      timeout: 1s
      threshold: 3
      backoff: 100ms
      ignore: { actions: [pull], mediatypes: [application/octet-stream] }
YAML
fi
docker-registry serve registry.yml >registry.log 2>&1 &
registry_pid=$!
for _ in $(seq 100); do curl -fs "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
image=127.0.0.1:$port/acme/shop

push() { # push TAG CREATED: one tiny image whose content is its tag
  local layout=layout-$1
  mkdir -p "$layout/blobs/sha256" && printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
  blob() { local sum; sum=$(sha256sum "$1" | cut -d' ' -f1); cp "$1" "$layout/blobs/sha256/$sum"; echo "$sum"; }
  mkdir -p "files-$1" && echo "$1" > "files-$1/version"
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
make_infra() { # of images at $baseline
  for environment in staging qa production; do
    git init -q --bare -b master "$environment.git"
    manifests $environment "$environment.git"
  done
}

manifests() { # manifests ENVIRONMENT WHERE_TO_PUSH: its first commit, with the image at $baseline
  git clone -q "$2" work 2>/dev/null
  mkdir -p work/kubernetes/{deployments,services}
  cat > work/kubernetes/deployments/shop.yaml <<YAML
# The shop. Towpath changes nothing here but the image.
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec:
      containers:
        - name: shop
          image: "$image:v1.3.0@$baseline"   # $1
YAML
  cat > work/kubernetes/services/shop.yaml <<YAML
apiVersion: v1
kind: Service
metadata: { name: shop }
spec: { selector: { app: shop }, ports: [{ port: 80, targetPort: 8080 }] }
YAML
  git -C work add . && git -C work commit -qm "the shop in $1" && git -C work push -q origin HEAD:master
  rm -rf work
}

write_environment() { # write_environment NAME FOLLOW GATE FAIL
  local cluster="{ simulated: { ready-after: 200ms, fail: [$4] } }"
  if [ -n "$planes" ]; then
    cluster="{ context: $1 }"
    if [ -n "$4" ]; then echo "* :$4@ image-pull-back-off" > "$planes/$1.rules"; fi
  fi
  cat > "config/$1/environment.yaml" <<YAML
repository: { url: file://$here/$1.git, branch: master }
manifests: [kubernetes]
cluster: $cluster
follow: $2
gate: $3
YAML
}

make_configuration() { # make_configuration FAILING_TAG
  mkdir -p config/{staging,qa,production,applications}
  write_environment staging '{ branches: ["*", "!master"] }' none ''
  write_environment qa '{ tags: ">=1.0.0" }' none "$1"
  write_environment production '{ environment: qa, soak: 1s }' branch "$1"
  cat > config/applications/shop.yaml <<YAML
applications:
  - name: shop
    images:
      - { repository: $image, branch-tag: "{branch}-{commit:7}", release-tag: "{tag}" }
    environments: [staging, qa, production]
YAML
  echo 'poll: { git: 1s, registry: 1s }' > config/towpath.yaml
}

run() { local code=0; timeout 150 "$towpath" --config config run --once --wait 2m > run.log 2>run.err || code=$?; echo $code; }
wanted() { git --git-dir="$1.git" show "master:kubernetes/deployments/shop.yaml" | sed -n 's/.*image: "\(.*\)" .*/\1/p'; }
present() { git --git-dir="$1.git" show "refs/notes/towpath/$1:present/applications/shop" | jq -r "$2"; }
tags() { git --git-dir="$1.git" for-each-ref --format='%(refname:short) %(contents:subject)' refs/tags | sort; }


# What a plane itself says, asked with curl.
ask() { # ask ENVIRONMENT PATH [CURL_ARGUMENT...]
  local server; server=$(sed -n 's/.*server: //p' "$planes/$1.kubeconfig")
  curl -fsk --max-time 10 -H 'Authorization: Bearer admin-token' "$server$2" "${@:3}"
}
namespace=default
deployed() { ask "$1" "/apis/apps/v1/namespaces/$namespace/deployments/shop" | jq -r "$2"; }
writes() { # writes ENVIRONMENT: the mutating calls of towpath so far, dry runs included
  jq -r 'select(.user.username == "admin" and (.verb | IN("create", "update", "patch", "delete", "deletecollection"))) | .auditID' "$planes/$1.audit.log" | wc -l
}
