#!/usr/bin/env bash
# Runs the whole suite in two streams side by side: what waits for engines and browsers, and what
# computes. The log of the first is shown when both are done. One failure fails all.
set -uo pipefail
set -m # so that each has a group of its own, which can be interrupted
make="make --no-print-directory"
log=$(mktemp)
groups=()

interrupt() {
    kill -INT -- "${groups[@]/#/-}" 2>/dev/null
    wait
    exit 130
}
trap interrupt INT TERM

(exec $make -k test-deploy test-journeys) > "$log" 2>&1 &
groups+=($!)
(exec $make -k test-frontend test-fast test-postgres test-slow) &
groups+=($!)

failed=0
for group in "${groups[@]}"; do
    wait "$group" || failed=1
done
cat "$log"
rm "$log"
exit $failed
