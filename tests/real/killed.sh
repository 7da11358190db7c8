#!/usr/bin/env bash
# SIGKILL before and after every effect, and at random: the end state must be that of an
# uninterrupted run, with no second commit, proposal, number, verdict or tag.
#
# Every effect on git is a push, so the repositories' own hooks do the killing: pre-receive kills and
# refuses (before the effect), post-receive kills (after it, with the answer unread). An apply lies
# between two pushes and is cut off from either side. Usage: killed.sh PATH_OF_TOWPATH [RANDOM_KILLS]
# With an empty WHEN, at random alone: tests/it/wires/killed kills at each effect, over HTTP and through a forge.
source "$(dirname "$0")/common.sh"
random_kills=${2:-20}

hooks() { # counts pushes that are not a person's; kills at the one that is wanted
  local environment when
  for environment in staging qa production; do
    for when in pre post; do
      cat > "$environment.git/hooks/$when-receive" <<HOOK
#!/bin/sh
[ -n "\$PERSON" ] && exit 0
cd $here
if [ $when = pre ]; then flock count.lock sh -c 'echo \$((\$(cat count) + 1)) > count; cp count mine.$environment'; fi
if [ -e kill-$when ] && [ "\$(cat kill-$when)" = "\$(cat mine.$environment)" ]; then
  rm -f kill-$when; kill -9 \$(cat pid); echo x >> killed; [ $when = pre ] && exit 1
fi
exit 0
HOOK
      chmod +x "$environment.git/hooks/$when-receive"
    done
  done
}

once() { # one run; prints its exit code
  "$towpath" --config config run --once --wait 30s >> run.log 2>> run.err &
  echo $! > pid
  local code=0
  wait "$(cat pid)" 2>/dev/null || code=$?
  echo $code
}

# Runs again whenever killed, and merges the proposal once there is one.
tow() {
  local starts=0
  while [ $starts -lt 40 ]; do
    starts=$((starts + 1))
    case $(once) in
      137) continue ;;
      0) ;;
      *) echo "a run failed"; tail -5 run.err; return 1 ;;
    esac
    git --git-dir=production.git rev-parse -q --verify refs/heads/towpath/production/shop >/dev/null || return 0
    PERSON=1 merge
  done
  echo "not done after 40 starts"; return 1
}

merge() {
  rm -rf person && git clone -q production.git person 2>/dev/null
  git -C person merge -q --no-ff -m Merge origin/towpath/production/shop && git -C person push -q origin master
}

# Everything that must be the same, without ids and times.
facts() {
  local environment note
  for environment in staging qa production; do
    local at="$environment.git"
    echo "$environment wants $(wanted $environment | sed 's/.*shop-[a-z0-9]*//')"
    echo "$environment commits $(git --git-dir=$at rev-list --count master)"
    git --git-dir=$at for-each-ref --format='%(refname) %(contents:subject)' refs/tags refs/heads
    git --git-dir=$at ls-tree -r --name-only refs/notes/towpath/$environment | grep -v ^present | while read -r note; do
      git --git-dir=$at show "refs/notes/towpath/$environment:$note"
    done | jq -r '[.record, .number, .cause, .verdict, .release.name] | map(tostring) | join(" ")' | sort
    git --git-dir=$at fsck --strict 2>&1 | grep -v '^dangling' || true
  done
}

play() { # play NAME: a fresh world, adopted and settled; then two releases under whatever kills
  rm -rf ./*.git cache config person kill-* mine.* files-* layout-* && : > killed && : > run.log && : > run.err
  image=127.0.0.1:$port/acme/shop-$1
  baseline=$(push v1.3.0 2026-01-01T00:00:00Z)
  make_infra && make_configuration none && hooks && echo 0 > count
  local code; code=$(once); [ "$code" = 0 ] || { echo "adoption ended with $code"; tail -5 run.err; exit 1; }
  for environment in staging qa production; do
    [ "$(tags $environment)" = "deployment-0001 Successfully Deployed" ] || { echo "$environment was not adopted"; tail -5 run.log; tail -20 run.err; exit 1; }
  done
  push feature-abc1234 2026-01-02T00:00:00Z >/dev/null
  push v1.4.0 2026-01-03T00:00:00Z >/dev/null
  echo 0 > count
}

play reference && tow && facts > reference
pushes=$(cat count)
echo "an uninterrupted run makes $pushes pushes"
kills=0
check() { # check WHAT
  facts > after
  if diff reference after > difference; then echo "ok   $1"; else echo "FAIL $1"; cat difference; failures=$((failures + 1)); fi
  kills=$((kills + $(wc -l < killed)))
}
for when in ${WHEN-pre post}; do
  for at in $(seq ${FIRST:-1} "$pushes"); do
    play "$when$at"
    echo "$at" > kill-$when
    tow || failures=$((failures + 1))
    [ -s killed ] || { echo "FAIL nothing was killed at push $at"; failures=$((failures + 1)); }
    check "killed $([ $when = pre ] && echo before || echo after) push $at"
  done
done
at_hooks=$kills
echo "$at_hooks kills at pushes"
round=0
while [ $((kills - at_hooks)) -lt "$random_kills" ]; do
  round=$((round + 1))
  [ $round -le $((random_kills * 2)) ] || { echo "too few kills"; failures=$((failures + 1)); break; }
  play "random$round"
  ( for _ in 1 2 3 4; do
      sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
      kill -9 "$(cat pid)" 2>/dev/null && echo x >> killed
    done ) &
  killer=$!
  tow || failures=$((failures + 1))
  kill $killer 2>/dev/null || true; wait $killer 2>/dev/null || true
  check "killed $(wc -l < killed) times at random"
done
echo "$((kills - at_hooks)) kills at random"
[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
echo "all end states are the same after $kills kills"
