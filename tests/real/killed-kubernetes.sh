#!/usr/bin/env bash
# A real control plane while everything is killed: `towpath run` in the middle of applies, the API server in the
# middle of applies and watches; and etcd frozen. Changes come in a steady stream meanwhile: manifests edited by a
# person, one object taken out, others added in another namespace, releases. A kill waits for a request of Towpath's
# by its number, as the audit log tells of it.
#
# At the end every object of the namespaces is in git, owned by one that is, or older than the test; and by the
# API server's audit log nothing was written twice for one desired state, and nothing at all once settled.
# Usage: killed-kubernetes.sh PATH_OF_TOWPATH [KILLS]
clusters=staging
source "$(dirname "$0")/common.sh" "$1" kubernetes
kills=${2:-20}
audit=$planes/staging.audit.log
down=$planes/staging.down
towpath_pid=
stop() { # stop SIGNAL: ends the running towpath
  [ -n "$towpath_pid" ] || return 0
  kill "-$1" "$towpath_pid" 2>/dev/null || true
  wait "$towpath_pid" 2>/dev/null || true
  towpath_pid=
}
trap 'stop KILL; cleanup' EXIT

# Reads the audit log. What curl asks is the test's own.
cat > audit.py <<'PY'
import collections, json, os, sys, time

CHANGES = {"create", "update", "patch", "delete", "deletecollection"}

def changes(lines):
    """What towpath asked to be changed, dry runs included."""
    for line in lines:
        if '"username":"admin"' in line and '"userAgent":"curl' not in line:
            event = json.loads(line)
            if event["verb"] in CHANGES:
                yield event

def is_dry(event):
    return "dryRun=All" in event["requestURI"]

def count(log):
    """How many changes were asked for so far."""
    print(sum(event["stage"] == "RequestReceived" for event in changes(open(log))))

def kill(log, offset, pid, at, within):
    """Kills a process when towpath asks for the change of this number or sort; tells what was asked until then."""
    end, rest = time.monotonic() + float(within), ""
    asked = collections.Counter()
    with open(log) as log:
        log.seek(int(offset))
        while time.monotonic() < end:
            *lines, rest = (rest + log.read()).split("\n")
            for event in changes(lines):
                if event["stage"] != "RequestReceived":
                    continue
                name = event.get("objectRef", {}).get("name", "")
                what = ("judged" if is_dry(event) else "the set" if name.startswith("towpath-")
                        else "deleted" if event["verb"] == "delete" else "applied")
                asked[what] += 1
                if what == at or at.isdigit() and sum(asked.values()) >= int(at):
                    os.kill(int(pid), 9)
                    print(", ".join(f"{n} {what}" for what, n in sorted(asked.items())))
                    return
            time.sleep(0.0005)
    sys.exit(1)

def twice(log):
    """Fails where an object was written twice for one desired state."""
    written, deleted, set_writes, other = collections.Counter(), collections.Counter(), 0, []
    tried = collections.Counter()
    for event in changes(open(log)):
        if event["stage"] != "ResponseComplete" or is_dry(event):
            continue
        ref, code = event.get("objectRef", {}), event["responseStatus"].get("code", 0)
        tried[code] += 1
        if not 200 <= code < 300:
            continue
        name = "/".join(ref.get(key, "") for key in ("namespace", "resource", "name"))
        sent = event.get("requestObject") or {}
        metadata = sent.get("metadata", {}) if isinstance(sent, dict) else {}
        mark = metadata.get("annotations", {}).get("towpath.dev/hash")
        if ref.get("name", "").startswith("towpath-"):
            set_writes += 1
        elif event["verb"] == "delete":
            deleted[name] += 1
        elif mark:
            written[name, mark] += 1
        else:
            other.append(f'{event["verb"]} {event["requestURI"]}')
    objects = {name for name, _ in written}
    repeated = [f"{name} {mark[:19]}: {n} times" for (name, mark), n in written.items() if n > 1]
    repeated += [f"{name} deleted {n} times" for name, n in deleted.items() if n > 1]
    refused = {code: n for code, n in sorted(tried.items()) if not 200 <= code < 300}
    print(f"     objects {len(objects)}, desired states {len(written)}, writes {sum(written.values())}, "
          f"deletions {sum(deleted.values())}, writes of the set {set_writes}, answered otherwise {refused or 'none'}")
    for line in repeated + other:
        print(f"     {line}")
    sys.exit(1 if repeated or other or not written else 0)

globals()[sys.argv[1]](*sys.argv[2:])
PY

# Lists every object of the namespaces and says whose each is.
cat > whose.py <<'PY'
import collections, json, pathlib, re, subprocess, sys

config, manifests, version, began, *namespaces = sys.argv[1:]
server = re.search(r"server: (\S+)", open(config).read())[1]

def get(path):
    told = subprocess.run(["curl", "-fsk", "--max-time", "10", "-H", "Authorization: Bearer admin-token", server + path],
                          capture_output=True, check=True, text=True).stdout
    return json.loads(told)

in_git = {}
for file in pathlib.Path(manifests).glob("*.yaml"):
    for document in re.split(r"^---$", file.read_text(), flags=re.M):
        kind = re.search(r"^kind: (\w+)", document, re.M)[1]
        metadata = re.search(r"^metadata: \{(.*)\}", document, re.M)[1]
        name = re.search(r"name: ([\w-]+)", metadata)[1]
        namespace = re.search(r"namespace: ([\w-]+)", metadata)
        in_git[kind, namespace[1] if namespace else "default", name] = version in document

served = [("/api/v1", get("/api/v1"))]
for group in get("/apis")["groups"]:
    path = "/apis/" + group["preferredVersion"]["groupVersion"]
    served.append((path, get(path)))
live = []
for path, answer in served:
    for resource in answer["resources"]:
        # Events tell of objects; nothing wants them.
        if resource["namespaced"] and "list" in resource["verbs"] and resource["name"] != "events":
            for namespace in namespaces:
                for item in get(f"{path}/namespaces/{namespace}/{resource['name']}")["items"]:
                    live.append((resource["kind"], namespace, item))

uids = {item["metadata"]["uid"] for _, _, item in live}
seen, wrong = collections.Counter(), []
for kind, namespace, item in live:
    metadata = item["metadata"]
    identity = kind, namespace, metadata["name"]
    labels = metadata.get("labels", {})
    marked = labels.get("towpath.dev/application") == "shop" and labels.get("towpath.dev/environment") == "staging"
    owners = metadata.get("ownerReferences", [])
    if identity in in_git:
        current = marked and "applyset.kubernetes.io/part-of" in labels and version in json.dumps(item)
        seen["in git"] += 1
        if not (current and in_git.pop(identity)):
            wrong.append(f"{identity} is not as git has it")
    elif owners and all(owner["uid"] in uids for owner in owners):
        seen["owned by one that is"] += 1
    elif identity == ("ConfigMap", "default", "towpath-staging"):
        seen["the set's parent"] += 1
    elif metadata["creationTimestamp"] <= began and not marked:
        seen["foreign and older"] += 1
    else:
        wrong.append(f"{identity} is nobody's")
wrong += [f"{identity} is missing" for identity in in_git]
print("     " + ", ".join(f"{what}: {n}" for what, n in seen.items()))
for line in wrong:
    print(f"     {line}")
sys.exit(1 if wrong or not seen["in git"] or not seen["foreign and older"] else 0)
PY

# A port of before may be another process's by now: each Towpath takes one of its own, and says which.
start() {
  "$towpath" --config config run --listen 127.0.0.1:0 >> run.log 2>> run.err &
  towpath_pid=$!
}
once() { local code=0; timeout 90 "$towpath" --config config run --once --wait 1m >> run.log 2>> run.err || code=$?; echo $code; }
process() { sed -n "s/^staging $1 //p" "$planes/pids"; }
changes() { python3 audit.py count "$audit"; }
address() { sed -n 's/.* listens .*address=\(127\.0\.0\.1:[0-9]*\).*/\1/p' run.err 2>/dev/null | tail -n 1; }
until_true() { # until_true SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || { echo "FAIL never: $*"; tail -5 run.err; return 1; }; sleep 0.05; done
}

# What is foreign, and the namespaces, are there before anything of the test.
write() { curl -fsk --max-time 10 -H 'Authorization: Bearer admin-token' -H 'Content-Type: application/json' -d "$2" -o /dev/null "$(sed -n 's/.*server: //p' "$planes/staging.kubeconfig")$1"; }
write /api/v1/namespaces '{"metadata": {"name": "extra"}}'
for namespace in default extra; do
  write /api/v1/namespaces/$namespace/configmaps '{"metadata": {"name": "foreign"}, "data": {"whose": "somebody else"}}'
  until_true 30 ask staging /api/v1/namespaces/$namespace/serviceaccounts/default > /dev/null
  until_true 30 ask staging /api/v1/namespaces/$namespace/configmaps/kube-root-ca.crt > /dev/null
done 2>/dev/null
began=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# An application of twelve objects. A person changes all of them at once by their version.
baseline=$(push v1.0.0 2026-01-01T00:00:00Z)
git init -q --bare -b master staging.git
git clone -q staging.git person 2>/dev/null
mkdir person/kubernetes
for name in web worker; do
  cat > person/kubernetes/$name.yaml <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: $name }
spec:
  replicas: 2
  revisionHistoryLimit: 1
  selector: { matchLabels: { app: $name } }
  template:
    metadata: { labels: { app: $name }, annotations: { version: "edit-0." } }
    spec: { containers: [{ name: main, image: "$image:v1.0.0@$baseline" }] }
YAML
done
plain() { # plain KIND NAME API_VERSION REST: one object that knows its version
  printf 'apiVersion: %s\nkind: %s\nmetadata: { name: %s, annotations: { version: "edit-0." } }\n%s\n' "$3" "$1" "$2" "$4" > "person/kubernetes/$2.yaml"
}
for number in 1 2 3 4 5 6; do plain ConfigMap config-$number v1 'data: { key: value }'; done
plain ConfigMap old v1 'data: { key: value }'
plain Service front v1 'spec: { selector: { app: web }, ports: [{ port: 80 }] }'
plain ServiceAccount runs v1 ''
plain Ingress way networking.k8s.io/v1 'spec: { defaultBackend: { service: { name: front, port: { number: 80 } } } }'
mkdir -p config/{staging,applications}
cat > config/staging/environment.yaml <<YAML
repository: { url: file://$here/staging.git, branch: master }
manifests: [kubernetes]
cluster: { context: staging, timeout: 3s }
follow: { tags: ">=1.0.0" }
gate: none
YAML
cat > config/applications/shop.yaml <<YAML
applications:
  - name: shop
    images:
      - { repository: $image, branch-tag: "{branch}-{commit:7}", release-tag: "{tag}" }
    environments: [staging]
YAML
cat > config/towpath.yaml <<YAML
poll: { git: 1s, registry: 1s }
webhooks: { generic: { unauthenticated: true } }
YAML

edit() { # edit NUMBER: everything changes; some come and one goes
  local number=$1
  if [ "$number" -ge 6 ]; then rm -f person/kubernetes/old.yaml; fi
  if [ "$number" -ge 9 ]; then
    cat > person/kubernetes/extra.yaml <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: extra, annotations: { version: "edit-0." } }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get] }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: config, namespace: extra, annotations: { version: "edit-0." } }
data: { key: value }
YAML
  fi
  sed -i "s/edit-[0-9]*\./edit-$number./" person/kubernetes/*.yaml
  git -C person add -A && git -C person commit -qm "edit $number"
}
commit() { # commit NUMBER: an edit on top of what is there, also where Towpath commits a release meanwhile
  edit "$1"
  until git -C person push -q origin HEAD:master 2>/dev/null; do
    git -C person fetch -q && git -C person reset -q --hard origin/master && edit "$1"
  done
  curl -fs -o /dev/null "$(address)/hooks/generic" -d "{\"repositories\": [\"file://$here/staging.git\"]}" || true
}
commit 0
is "the first sync settles" 0 "$(once)"

printf '%-5s %-12s %-8s %s\n' kill after request "towpath had asked for, since"
start
killed=0 round=0
while [ $killed -lt "$kills" ] && [ $round -lt $((kills * 2)) ]; do
  round=$((round + 1))
  offset=$(stat -L -c %s "$audit")
  # Anywhere in it; and once at the deletion, once where the set's parent is written.
  case $round in 6) at=deleted ;; 9) at="the set" ;; *) at=$((RANDOM % 26 + 1)) ;; esac
  if [ $((round % 4)) = 0 ]; then
    at=$((RANDOM % 4 + 1))
    push "v1.$round.0" "$(date -u -d "2026-01-02 + $round minutes" +%Y-%m-%dT%H:%M:%SZ)" > /dev/null
    what="release $round"
  else
    commit $round; what="edit $round"
  fi
  if told=$(python3 audit.py kill "$audit" "$offset" "$towpath_pid" "$at" 5); then
    killed=$((killed + 1))
    stop KILL
    printf '%-5s %-12s %-8s %s\n' $killed "$what" "$at" "$told"
    start
  fi
done
is "kills in the middle of an apply" "$kills" "$killed"
round=$((round + 1)); commit $round

is_at() { # is_at NUMBER: every object of the application is of this edit
  local listed
  listed=$(for kind in api/v1/namespaces/default/configmaps apis/apps/v1/namespaces/default/deployments api/v1/namespaces/extra/configmaps; do
    ask staging "/$kind?labelSelector=towpath.dev/application=shop" 2>/dev/null; done | jq -r '.items[] | tostring | capture("\"version\":\"edit-(?<n>[0-9]+)\\.") | .n') || return 1
  [ "$(sort -u <<< "$listed")" = "$1" ] && [ "$(wc -l <<< "$listed")" = "$(cat person/kubernetes/*.yaml | grep -cE '^kind: (ConfigMap|Deployment)')" ]
}
names_cluster() {
  timeout 30 "$towpath" --config config explain shop staging -o json 2>/dev/null > explained.json
  jq -e '.[0] | tostring | test("\"state\":\"unreadable\"") and test("cluster of context `staging` does not answer")' explained.json > /dev/null
}
# That a commit is not recorded yet is told first: it needs no cluster.
explained() { # explained WHAT: towpath explain names the cluster as the reason
  if until_true 30 names_cluster; then echo "ok   $1, explain names the cluster"
  else echo "FAIL $1: explain says $(cat explained.json)"; failures=$((failures + 1)); fi
}
went_through() { # went_through WHAT
  if until_true 60 is_at $round; then echo "ok   $1"; else failures=$((failures + 1)); fi
}
went_through "everything is of edit $round"

# The API server goes, and comes again on the same port with the same state.
lose() { touch "$down"; gone=$(process apiserver); }
again() { rm -f "$down"; until_true 60 is_new "$gone"; }
is_new() { local now; now=$(process apiserver); [ -n "$now" ] && [ "$now" != "$1" ]; }
lose; kill -9 "$gone"
explained "while the API server is gone and nothing is to be done"
round=$((round + 1)); commit $round
again; went_through "edit $round went through after it came back"
for at in 4 20; do
  round=$((round + 1)); lose
  offset=$(stat -L -c %s "$audit")
  commit $round
  told=$(python3 audit.py kill "$audit" "$offset" "$gone" $at 10) || told="FAIL nothing was asked"
  explained "killed at request $at of an apply ($told)"
  again; went_through "edit $round went through after it came back"
done

# etcd hangs: connections stay, answers do not come.
etcd=$(process etcd)
kill -STOP "$etcd"
round=$((round + 1)); commit $round
explained "while etcd hangs"
sleep 3
kill -CONT "$etcd"
went_through "edit $round went through once it went on"

stop TERM
is "it settles" 0 "$(once)"
git -C person fetch -q && git -C person reset -q --hard origin/master
# The cluster's own garbage collector may still be at old ReplicaSets and their pods.
whose() { python3 whose.py "$planes/staging.kubeconfig" person/kubernetes "edit-$round." "$began" default extra > whose.txt 2>&1; }
is "each object is in git, owned by one that is, or older" yes "$(until_true 30 whose > /dev/null && echo yes)"
cat whose.txt
is "nothing was written twice for one desired state" yes "$(python3 audit.py twice "$audit" > twice.txt 2>&1 && echo yes)"
cat twice.txt
counted=$(changes)
is "another run settles" 0 "$(once)"
start; sleep 3; stop TERM
is "and asks the cluster to change nothing" "$counted" "$(changes)"
[ "$failures" = 0 ] || { echo "$failures failures"; tail -20 run.err; exit 1; }
echo "all facts hold after $killed kills of towpath, 3 of the API server and one frozen etcd ($SECONDS s)"
