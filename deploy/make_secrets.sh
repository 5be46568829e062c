#!/usr/bin/env bash
# Writes the secrets that compose.yaml mounts, where they are missing. Keep the folder: without it the
# database cannot be opened and everybody is signed out.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p -m 700 secrets
cd secrets
random() { head -c 36 /dev/urandom | base64 | tr -d '/+=\n'; }
[ -s postgres-password ] || random >postgres-password
[ -s secret-key ] || random >secret-key
[ -s database-url ] ||
    printf 'postgres://athanor:%s@postgres:5432/athanor' "$(cat postgres-password)" >database-url
# The containers' users read them through the mount; the folder keeps everybody else out.
chmod 644 postgres-password secret-key database-url
