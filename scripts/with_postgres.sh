#!/usr/bin/env bash
# Runs a command with STUDIO_DATABASE_URL and STUDIO_REDIS_URL naming a private PostgreSQL cluster and
# a private redis-server, both on Unix sockets in a folder that goes away with the command.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
if [ -z "$bin" ] || ! command -v redis-server >/dev/null; then
    echo "athanor: PostgreSQL or redis-server is not installed: skipped." >&2
    [ "${CI:-}" != true ]
    exit
fi
# Lower case: the host part of a URL, which carries this path, has no other.
home=/tmp/athanor-pg-$$-$RANDOM
mkdir -m 700 "$home"
as_owner=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
    chown postgres "$home"
    as_owner=(setpriv --reuid postgres --regid postgres --clear-groups)
fi
cleanup() {
    (cd / && "${as_owner[@]}" "$bin/pg_ctl" -s -D "$home/data" -m immediate stop) || true
    [ -z "${redis:-}" ] || kill "$redis" || true
    rm -rf "$home"
}
trap cleanup EXIT
(
    cd /
    "${as_owner[@]}" "$bin/initdb" -D "$home/data" -U athanor -A trust -E UTF8 --locale=C >/dev/null
    # What a test database need not survive makes it several times faster.
    "${as_owner[@]}" "$bin/pg_ctl" -s -w -D "$home/data" -l "$home/log" start -o \
        "-k $home -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    "${as_owner[@]}" "$bin/createdb" -h "$home" -U athanor athanor
)
redis-server --port 0 --unixsocket "$home/redis.sock" --save "" --appendonly no >/dev/null &
redis=$!
export STUDIO_DATABASE_URL="postgres://athanor@$(printf %s "$home" | sed 's#/#%2F#g')/athanor"
export STUDIO_REDIS_URL="unix://$home/redis.sock"
"$@"
