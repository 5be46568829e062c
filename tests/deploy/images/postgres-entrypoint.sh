#!/bin/bash
# Makes the cluster the first time, with the user, database and password the environment names; then serves.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
run() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir -p /run/postgresql && chown postgres /run/postgresql
if [ ! -s $data/PG_VERSION ]; then
    install -o postgres -m 600 "$POSTGRES_PASSWORD_FILE" /tmp/password
    cd $data
    run "$bin/initdb" -D $data -U "$POSTGRES_USER" --pwfile /tmp/password \
        --auth-local trust --auth-host scram-sha-256 -E UTF8 --locale C.UTF-8
    rm /tmp/password
    echo "host all all all scram-sha-256" >>$data/pg_hba.conf
    echo "CREATE DATABASE $POSTGRES_DB OWNER $POSTGRES_USER" |
        run "$bin/postgres" --single -D $data postgres >/dev/null
fi
cd $data
exec setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D $data -c 'listen_addresses=*'
