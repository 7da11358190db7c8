#!/usr/bin/env bash
# The reference pipeline with its people on a forge, from a tag to production: real git over HTTP, Debian's
# docker-registry, a real control plane per environment, and for each forge that is named the same story, told
# and asserted through its own API. Nothing is polled: every look of Towpath's is one that the registry or the
# forge asked for by a webhook. Last, 30 tags in a row leave one open request.
# Usage: forge.sh PATH_OF_TOWPATH [github] [gitea]     github: the simulated one; gitea: tests/testbed/gitea
binary=$1 home=$HOME
forges=${*:2}
forges=${forges:-github gitea}
if [[ $forges == *gitea* ]]; then gitea=$("$(dirname "$0")/../testbed/build" gitea); fi
hooks=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
secret=$(openssl rand -hex 32)
source "$(dirname "$0")/common.sh" "$binary" kubernetes
towpath_pid=
# A forge runs until its standard input ends.
stop_forge() { exec 8>&-; wait "$forge_pid" 2>/dev/null || true; forge_pid=; }
stop_towpath() { # asks it to end, and waits
  [ -n "$towpath_pid" ] || return 0
  kill "$towpath_pid" 2>/dev/null || true
  wait "$towpath_pid" 2>/dev/null || true
  towpath_pid=
}
forge_pid=
trap 'stop_towpath; if [ -n "$forge_pid" ]; then stop_forge; fi; cleanup' EXIT
mkfifo forge.stdin

# until_is WHAT EXPECTED COMMAND...: what the command tells becomes this within a minute.
until_is() {
  local what=$1 expected=$2 told= end=$((SECONDS + 60))
  shift 2
  until [ "$(told=$("$@" 2>/dev/null); echo "$told")" = "$expected" ] || [ "$SECONDS" -ge "$end" ]; do sleep 0.05; done
  told=$("$@" 2>&1 || true)
  is "$what" "$expected" "$told"
  [ "$told" = "$expected" ] || { tail -40 "$forge.log"; exit 1; }
}

# as WHO METHOD PATH [BODY]: asks the forge's API.
as() {
  local body=()
  [ $# -lt 4 ] || body=(--data-binary "$4")
  curl -fsS --max-time 30 -X "$2" -H "Authorization: Bearer $(cat "$1.token")" -H 'Content-Type: application/json' "$api/$3" "${body[@]}"
}

repositories="acme/staging acme/qa acme/production acme/shop"
start_github() {
  # shellcheck disable=SC2086 # they are words
  HOME=$home cargo run --quiet --locked --manifest-path "$testbed/../../Cargo.toml" --example testbed -- github $repositories < forge.stdin > forge.out 2> forge.err &
  forge_pid=$!
  exec 8> forge.stdin
  until [ "$(wc -l < forge.out)" = 4 ]; do kill -0 $forge_pid || { cat forge.err; exit 1; }; sleep 0.05; done
  site=$(sed -n 's/\/$//; 1p' forge.out) api=$site
  while read -r who token; do echo "$token" > "$who.token"; done < <(tail -3 forge.out)
}
start_gitea() {
  local free; free=$(free_port)
  "$testbed/gitea/run" "$gitea" "$free" < forge.stdin > forge.out 2> forge.err &
  forge_pid=$!
  exec 8> forge.stdin
  site=http://127.0.0.1:$free api=$site/api/v1
  until curl -fs "$site/api/healthz" > /dev/null; do kill -0 $forge_pid || { cat forge.err; exit 1; }; sleep 0.05; done
  tail -1 forge.out > root.token
  as root POST orgs '{"username":"acme"}' > /dev/null
  for who in towpath ann; do
    as root POST admin/users "{\"username\":\"$who\",\"email\":\"$who@example.com\",\"password\":\"a person's password\",\"must_change_password\":false}" > /dev/null
    curl -fsS -u "$who:a person's password" -H 'Content-Type: application/json' "$api/users/$who/tokens" \
      -d '{"name":"test","scopes":["write:repository","write:issue","read:user"]}' | jq -r .sha1 > "$who.token"
  done
  for repository in $repositories; do
    as root POST orgs/acme/repos "{\"name\":\"${repository#*/}\",\"private\":true,\"default_branch\":\"master\"}" > /dev/null
    for who in towpath ann; do as root PUT "repos/$repository/collaborators/$who" '{"permission":"write"}' > /dev/null; done
  done
}

# What the two forges ask for in different words.
merge() { # merge NUMBER: as ann, once it is known whether it can be merged
  local done=0
  for _ in $(seq 600); do
    case $forge in
      github) as ann GET "repos/acme/production/pulls/$1" > /dev/null; as ann PUT "repos/acme/production/pulls/$1/merge" '{"merge_method":"merge"}' > merged 2>&1 && done=1 && break ;;
      gitea) as ann POST "repos/acme/production/pulls/$1/merge" '{"Do":"merge"}' > merged 2>&1 && done=1 && break ;;
    esac
    sleep 0.05
  done
  [ $done = 1 ] || { cat merged; exit 1; }
}
deployed_to() { # deployed_to ENVIRONMENT COMMIT: how the application's commit stands there
  case $forge in
    github)
      local id; id=$(as ann GET "repos/acme/shop/deployments?sha=$2&environment=$1" | jq -r '.[0].id')
      as ann GET "repos/acme/shop/deployments/$id/statuses" | jq -r '.[0].state'
      ;;
    gitea) status acme/shop "$2" "towpath/$1" ;;
  esac
}
status() { # status REPOSITORY COMMIT CONTEXT
  as ann GET "repos/$1/commits/$2/status" | jq -r --arg c "$3" '.statuses[] | select(.context == $c) | .state // .status'
}
requests() { as ann GET "repos/acme/production/pulls?state=$1&limit=50&per_page=50" | jq -r "$2"; }
head_of() { git ls-remote "$(repository "$1")" "refs/heads/${2:-master}" | cut -f1; }
repository() { echo "http://ann:$(cat ann.token)@${site#http://}/acme/$1.git"; }
# What git has there, looked at in a mirror of the test's own.
look() { git --git-dir="$1.git" fetch -q --prune && "${@:2}"; }
last_tag() { look "$1" tags "$1" | tail -1; }
counted() { curl -fs "http://127.0.0.1:$hooks/metrics" | sed -n "s/^towpath_webhook_deliveries_total{sender=\"$1\",event=\"$2\",outcome=\"$3\"} //p"; }
has_some() { [ "$(counted "$@")" -gt 0 ] && echo yes; }

write_environment() { # write_environment NAME FOLLOW GATE MORE
  cat > "config/$1/environment.yaml" <<YAML
repository: { url: "$site/acme/$1.git", branch: master, forge: $forge, credential: { file: ../towpath.token, user: towpath } }
manifests: [kubernetes]
cluster: { context: $1, namespace: $forge }
follow: $2
gate: $3
drift: report
$4
YAML
}

story() {
  namespace=$forge
  image=127.0.0.1:$port/acme/shop-$forge
  mkdir -p config/{staging,qa,production,applications}
  write_environment staging '{ branches: ["*", "!master"] }' none ''
  write_environment qa '{ tags: ">=1.0.0" }' none ''
  write_environment production '{ environment: qa, soak: 1s }' pull-request 'request: { labels: [deployment], reviewers: [root], diff: full }'
  cat > config/applications/shop.yaml <<YAML
applications:
  - name: shop
    source: { url: "$site/acme/shop.git", credential: { file: ../towpath.token, user: towpath } }
    images:
      - { repository: $image, branch-tag: "{branch}-{commit:7}", release-tag: "{tag}" }
    environments: [staging, qa, production]
YAML
  echo "$secret" > config/secret
  cat > config/towpath.yaml <<YAML
poll: { git: 1h, registry: 1h, forge: 1h }      # so that what happens here was told
forges: { "${site#http://}": { api: "$api", statuses: true, deployments: true } }
webhooks: { $forge: { secrets: [{ file: secret }] }, registry: { secrets: [{ file: secret }] } }
cache: ../$forge-cache
YAML
  local events='["push"]'
  for name in staging qa production shop; do
    rm -rf "$name.git" && git clone -q --mirror "$(repository $name)" "$name.git" 2> /dev/null
    [ $name != production ] || events='["push","pull_request","pull_request_review","pull_request_label"]'
    [ $forge != github ] || events=$(jq -c 'map(select(. != "pull_request_label"))' <<< "$events")
    as root POST "repos/acme/$name/hooks" "$(jq -cn --arg type "$forge" --arg url "http://127.0.0.1:$hooks/hooks/$forge" --arg secret "$secret" --argjson events "$events" \
      '{active: true, events: $events, config: {url: $url, content_type: "json", secret: $secret}} + if $type == "gitea" then {type: $type} else {name: "web"} end')" > /dev/null
    [ $name = shop ] || echo "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$forge\"}}" \
      | ask $name /api/v1/namespaces -H 'Content-Type: application/json' --data-binary @- > /dev/null
  done

  rm -rf source && git clone -q shop.git source 2> /dev/null && git -C source remote set-url origin "$(repository shop)"
  release() { git -C source commit -q --allow-empty -m "$1" && git -C source tag "$1" && git -C source push -q origin HEAD:master "$1" 2> /dev/null; }
  release v1.3.0
  baseline=$(push v1.3.0 2026-01-01T00:00:00Z)
  for environment in staging qa production; do manifests $environment "$(repository $environment)"; done

  timeout 600 "$towpath" --config config run --listen "127.0.0.1:$hooks" > "$forge.events" 2> "$forge.log" &
  towpath_pid=$!
  for environment in staging qa production; do
    until_is "$environment adopted the baseline healthy" "deployment-0001 Successfully Deployed" last_tag $environment
  done

  # What a person changed by hand is part of what a merge would change, and stands in no file.
  ask production "/apis/apps/v1/namespaces/$forge/deployments/shop" -X PATCH -H 'Content-Type: application/merge-patch+json' --data-binary '{"spec":{"replicas":3}}' > /dev/null
  release v1.4.0
  tagged=$(push v1.4.0 2026-01-02T00:00:00Z)
  until_is "qa runs the tag" "deployment-0002 Successfully Deployed" last_tag qa
  until_is "one request is open" "production: shop v1.4.0" requests open '[.[].title] | join(", ")'
  local number head
  number=$(requests open '.[0].number') head=$(requests open '.[0].head.sha')
  is "it is about the branch" "$head" "$(head_of production towpath/production/shop)"
  is "which is one commit" 1 "$(look production git --git-dir=production.git rev-list --count master.."$head")"
  is "that carries the tag" "$image:v1.4.0@$tagged" \
    "$(git --git-dir=production.git show "$head:kubernetes/deployments/shop.yaml" | tee proposed.yaml | sed -n 's/.*image: "\(.*\)" .*/\1/p')"
  is "it has its label" deployment "$(requests open '.[0].labels[].name')"
  until_is "towpath/proven on its head" success status acme/production "$head" towpath/proven
  is "production still runs the old one" "$image:v1.3.0@$baseline" "$(deployed production '.spec.template.spec.containers[0].image')"
  deployed production . > live.json
  ask production "/apis/apps/v1/namespaces/$forge/deployments/shop?dryRun=All&fieldManager=towpath&force=true" \
    -X PATCH -H 'Content-Type: application/apply-patch+yaml' --data-binary @proposed.yaml > judged.json
  is "its difference is the cluster's own" "$(jq -rn --slurpfile live live.json --slurpfile judged judged.json '
      def leaves: [paths(scalars) as $p | { ($p | map(tostring) | join("/")): getpath($p) }] | add;
      ($live[0].spec | leaves) as $old | ($judged[0].spec | leaves) as $new |
      [$old, $new | keys[]] | unique[] | select($old[.] != $new[.]) | "-\($old[.])", "+\($new[.])"' | sort)" \
    "$(requests open '.[0].body' | tr -d '\r' | sed -n '/^```diff/,/^```$/p' | sed -n 's/^\([-+]\).*: /\1/p' | sort)"

  merge "$number"
  until_is "production runs it" "deployment-0002 Successfully Deployed" last_tag production
  is "production wants the tag" "$image:v1.4.0@$tagged" "$(wanted production)"
  is "all of it runs" "$image:v1.4.0@$tagged 2 of 2" "$(deployed production '"\(.spec.template.spec.containers[0].image) \(.status.availableReplicas) of \(.spec.replicas)"')"
  is "from the commit of the merge" "$(head_of production)" "$(deployed production '.metadata.annotations["towpath.dev/commit"]')"
  is "which was recorded" merge "$(present production 'select(.record=="deployment" and .number==2) | .cause')"
  until_is "towpath/production on it" success status acme/production "$(head_of production)" towpath/production
  until_is "towpath/qa on its own" success status acme/qa "$(head_of qa)" towpath/qa
  for environment in qa production; do
    until_is "the application's commit in $environment" success deployed_to $environment "$(git -C source rev-parse v1.4.0)"
  done
  is "the request was merged" true "$(as ann GET "repos/acme/production/pulls/$number" | jq .merged)"
  until_is "its branch is gone" "" head_of production towpath/production/shop

  for minor in $(seq 5 34); do
    release "v1.$minor.0"
    tagged=$(push "v1.$minor.0" 2026-02-01T00:00:00Z)
  done
  until_is "after 30 tags one request is open" "production: shop v1.34.0" requests open '[.[].title] | join(", ")'
  is "and never was another" 2 "$(requests all length)"
  until_is "its branch carries the newest" "$image:v1.34.0@$tagged" proposed
  is "as one commit" 1 "$(git --git-dir=production.git rev-list --count master..towpath/production/shop)"
  until_is "towpath/proven on its head" success status acme/production "$(head_of production towpath/production/shop)" towpath/proven
  is "qa runs it" "$image:v1.34.0@$tagged" "$(deployed qa '.spec.template.spec.containers[0].image')"

  is "the registry told of pushes" yes "$(has_some registry push woke)"
  is "the forge told of pushes" yes "$(has_some "$forge" push woke)"
  is "and of requests" yes "$(has_some "$forge" pull_request woke)"
  stop_towpath
  if grep -qFf <(cat ./*.token config/secret) "$forge.log" "$forge.events"; then is "no secret is told" none "some"; fi
  local counted
  state > before && counted=$(all_writes)
  is "another run settles" 0 "$(run)"
  state > after
  is "and writes nothing" "" "$(diff before after)"
  is "nor does it ask a cluster to change anything" "$counted" "$(all_writes)"
  rm -rf config source
}
proposed() { look production git --git-dir=production.git show towpath/production/shop:kubernetes/deployments/shop.yaml | sed -n 's/.*image: "\(.*\)" .*/\1/p'; }
all_writes() { for environment in staging qa production; do writes $environment; done | paste -sd' '; }
# Everything that Towpath writes on the forge.
state() {
  { for name in staging qa production shop; do git ls-remote "$(repository $name)"; done
    requests all 'map({title, body, state, updated_at})'; }
}

for forge in $forges; do
  echo "== $forge"
  "start_$forge"
  story
  stop_forge
done
[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
echo "all facts hold"
