#!/bin/sh
# Runs the benchmark on BUILD_DIR, prints the table and leaves it in BUILD_DIR/bench.md. A bar that is missed is
# marked in the table; the exit code is 1 then.
set -u
build=${1:-build}
rc=0
"$build/t/bench" "$build" "$build/bench.md" || rc=$?
cat "$build/bench.md"
exit $rc
