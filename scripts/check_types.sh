#!/usr/bin/env bash
# Refuses an OpenAPI schema or TypeScript types that the code has left behind. $1 is the environment's bin folder.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$1/python" scripts/manage_lint.py spectacular --format openapi-json --validate --fail-on-warn \
    --file "$fresh/openapi.json"
diff -q frontend/openapi.json "$fresh/openapi.json" ||
    { echo "frontend/openapi.json is stale: run \`make types\`." >&2; exit 1; }
cp frontend/src/api/types.ts "$fresh/types.ts"
BIN="$1" scripts/npm.sh run types >/dev/null
if ! diff -q "$fresh/types.ts" frontend/src/api/types.ts; then
    cp "$fresh/types.ts" frontend/src/api/types.ts
    echo "frontend/src/api/types.ts is stale: run \`make types\`." >&2
    exit 1
fi
