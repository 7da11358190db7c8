#!/usr/bin/env bash
# The reference pipeline on parts that are not Towpath's own: hand-made bare repositories, Debian's
# docker-registry filled by skopeo, plain git for what people do, and with `kubernetes` a real control
# plane per environment. Asserts each fact with git, curl and jq.
# Usage: pipeline.sh PATH_OF_TOWPATH [kubernetes]
source "$(dirname "$0")/common.sh"

baseline=$(push v1.3.0 2026-01-01T00:00:00Z)
make_infra
bad=v1.5.0
make_configuration $bad

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
if [ -n "$planes" ]; then
  is "the cluster was told to run it" "$image:$bad@$broken" "$(deployed qa '.spec.template.spec.containers[0].image')"
  is "the verdict names the pod's reason" true "$(present qa 'select(.record=="verdict" and .number==3) | .reason | test("ImagePullBackOff")')"
fi
is "explain names it" failed "$("$towpath" --config config explain shop qa -o json | jq -r '.[0].state')"

good=$(push v1.5.1 2026-01-05T00:00:00Z)
is "a newer good tag goes through" 0 "$(run)"
is "qa is healthy again" "deployment-0004 Successfully Deployed" "$(tags qa | tail -1)"
git -C person fetch -q && git -C person merge -q --squash origin/towpath/production/shop >/dev/null && git -C person commit -qm "Squash 1.5.1" && git -C person push -q origin master
is "a squash merge settles" 0 "$(run)"
is "production wants it" "$image:v1.5.1@$good" "$(wanted production)"
is "production is healthy" "deployment-0003 Successfully Deployed" "$(tags production | tail -1)"

if [ -n "$planes" ]; then
  is "staging runs the branch image" "$image:feature-abc1234@$staged" "$(deployed staging '.spec.template.spec.containers[0].image')"
  for environment in qa production; do
    is "$environment runs the newest" "$image:v1.5.1@$good" "$(deployed $environment '.spec.template.spec.containers[0].image')"
    is "all of it" "2 of 2" "$(deployed $environment '"\(.status.availableReplicas) of \(.spec.replicas)"')"
    is "it says whose it is" "shop in $environment" \
      "$(deployed $environment '.metadata.labels | "\(.["towpath.dev/application"]) in \(.["towpath.dev/environment"])"')"
    is "and from which commit" "$(git --git-dir=$environment.git log -1 --format=%H --first-parent master -- kubernetes/deployments)" \
      "$(deployed $environment '.metadata.annotations["towpath.dev/commit"]')"
  done
  counted=$(for environment in staging qa production; do writes $environment; done)
fi
before=$(for environment in staging qa production; do git --git-dir=$environment.git for-each-ref; done | sha256sum)
is "another run settles" 0 "$(run)"
is "and writes nothing" "$before" "$(for environment in staging qa production; do git --git-dir=$environment.git for-each-ref; done | sha256sum)"
if [ -n "$planes" ]; then
  is "nor does it ask a cluster to change anything" "$counted" "$(for environment in staging qa production; do writes $environment; done)"
fi
for environment in staging qa production; do git --git-dir=$environment.git fsck --strict 2>&1 | grep -v '^dangling' && failures=$((failures + 1)); done
git --git-dir=production.git log --notes='towpath/*' -3 > log.txt && grep -q '"verdict":"healthy"' log.txt && echo "ok   git log --notes shows the records"
[ "$failures" = 0 ] || { echo "$failures failures"; cat run.err | tail -20; exit 1; }
echo "all facts hold"
