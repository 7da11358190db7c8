#!/usr/bin/env bash
# Runs the runbook, docs/operating.md. Usage: operating.sh PATH_OF_TOWPATH
source "$(dirname "$0")/page.sh" operating.md "$1"
# What the page says of this run, and a reader would miss.
[ "$(git -C production.git tag | wc -l)" = 8 ] || { echo "production has other deployments than told"; exit 1; }
git -C production.git log --notes='towpath/*' | grep '"record":"unpinned"' >/dev/null || { echo "the pin did not end"; exit 1; }
[ "$(git -C qa.git tag -n | grep -c 'Failed Deployment')" = 1 ] || { echo "qa did not fail once"; exit 1; }
echo "the runbook holds"
