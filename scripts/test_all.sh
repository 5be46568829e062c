#!/usr/bin/env bash
# Runs the whole suite: what waits for engines, browsers and trainings beside what computes, which
# gives way to it. The log of what runs behind is shown when all is done. One failure fails all.
set -uo pipefail
set -m # so that each has a group of its own, which can be interrupted
make="make --no-print-directory"
folder=$(mktemp -d)
groups=()

interrupt() {
    kill -INT -- "${groups[@]/#/-}" 2>/dev/null
    wait
    exit 130
}
trap interrupt INT TERM

(exec $make test-deploy) > "$folder/deploy" 2>&1 &
groups+=($!)
($make test-slow; slow=$?; $make test-journeys && exit $slow) > "$folder/slow" 2>&1 &
groups+=($!)
(exec nice -n 10 $make -k test-frontend test-fast test-postgres) &
groups+=($!)

failed=0
for group in "${groups[@]}"; do
    wait "$group" || failed=1
done
cat "$folder/deploy" "$folder/slow"
rm -r "$folder"
exit $failed
