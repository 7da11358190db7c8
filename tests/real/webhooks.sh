#!/usr/bin/env bash
# Runs docs/webhooks.md. Usage: webhooks.sh PATH_OF_TOWPATH
source "$(dirname "$0")/page.sh" webhooks.md "$1"
# What the page says of this run: the answers, and what was counted.
diff <(sed -n '/^it is looked at again$/,/^401$/p' "$page") answers || { echo "other answers than told"; exit 1; }
diff <(grep '^towpath_webhook_deliveries_total{' "$page") <(grep '^towpath_webhook_deliveries_total' out) || { echo "other counts than told"; exit 1; }
! grep -q "$(cat environments/secret)" run.log || { echo "the secret is in the log"; exit 1; }
echo "the page on webhooks holds"
