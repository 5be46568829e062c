#!/usr/bin/env bash
# Builds the dashboard into studio/static/dashboard/ where its sources changed since the last build.
set -euo pipefail
cd "$(dirname "$0")/.."
out=studio/static/dashboard
digest=$(find frontend -path frontend/node_modules -prune -o -type f -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
if [ -f "$out/index.html" ] && [ "$(cat "$out/.sources" 2>/dev/null)" = "$digest" ]; then
    exit 0
fi
echo "athanor: building the dashboard" >&2
scripts/npm.sh run build
echo "$digest" >"$out/.sources"
