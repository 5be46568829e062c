#!/usr/bin/env bash
# Installs the system parts that the tests need, where it may: root on Debian or Ubuntu.
# Elsewhere it says what is missing; with CI=true a missing part is a failure.
set -euo pipefail

missing=()
need() { # need COMMAND-OR-PATH PACKAGE...
    local probe=$1
    shift
    [ -e "$probe" ] || command -v "$probe" >/dev/null || missing+=("$@")
}
find_postgres() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1; }

need redis-server redis-server
need "$(find_postgres)/pg_ctl" postgresql
need chromium chromium
need /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc fonts-noto-cjk
need dockerd docker.io
need debootstrap debootstrap
need mkfs.btrfs btrfs-progs
need docker-compose docker-compose
need ssh openssh-client
need sshd openssh-server openssh-sftp-server
need rsync rsync
need ip iproute2
need iptables iptables
need /usr/sbin/nginx nginx-light

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "athanor: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    # The tests start their own servers: nothing is to start by itself.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${missing[@]}"
    exit 0
fi
echo "athanor: these parts are missing, and the tests about them are skipped: ${missing[*]}" >&2
[ "${CI:-}" != true ]
