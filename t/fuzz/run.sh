#!/bin/sh
# Runs fuzz targets for SECONDS each, two at a time, starting from the corpus that is kept for them and from recorded
# exchanges where there are any. What is found beyond it is thrown away; a finding stays in build/fuzz/findings and makes the exit code 1.
#   usage: run.sh SECONDS TARGET...
set -u
seconds=$1
shift
dir=$(dirname "$0")
out=build/fuzz/findings
mkdir -p "$out"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
perl "$dir/seeds.pl" "$seeds"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

one() {
	name=$(basename "$1")
	scratch=$(mktemp -d)
	seed=
	[ -d "$dir/corpus/$name" ] && seed=$dir/corpus/$name
	[ -d "$seeds/$name" ] && seed="$seed $seeds/$name"
	dict=
	[ -f "$dir/corpus/$name.dict" ] && dict=-dict=$dir/corpus/$name.dict
	if "$1" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$out/$name-" $dict "$scratch" $seed >"$out/$name.log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$name.log")
		echo "ok $name: $runs runs, no finding"
		rm -rf "$scratch"
	else
		rm -rf "$scratch"
		tail -n 40 "$out/$name.log"
		echo "not ok $name: see $out"
		return 1
	fi
}

rc=0
while [ $# -gt 0 ]; do
	one "$1" & first=$!
	second=
	if [ $# -gt 1 ]; then
		one "$2" & second=$!
		shift
	fi
	shift
	wait "$first" || rc=1
	if [ -n "$second" ]; then wait "$second" || rc=1; fi
done
exit $rc
