#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# run.sh [PROGRAM...] [--root PROGRAM...]: run cmocka programs, those after --root as root, say once
# more what failed, each line after "failed: ", and end with one line: "N passed, N failed", and
# ", N skipped" if any were.
#
# HOSTQOS_JOBS of them run at a time (default 1); of several, each one's words are kept together.
# With HOSTQOS_KERNEL, an unpacked linux-image, each runs as root in an emulated machine.
#
# A program that crashes, hangs, runs no test, or ends without a word about one that it began
# counts as a failure. So does a skipped test under CI, unless selftests/skips lists it.
set -u
cd "$(dirname "$0")/.." || exit
slow=${HOSTQOS_SLOW:-1}
where=${HOSTQOS_WHERE:-native}
jobs=${HOSTQOS_JOBS:-1}
under=()
[ -z "${HOSTQOS_KERNEL:-}" ] ||
	under=(selftests/vm/boot.sh "$HOSTQOS_KERNEL" env CI="${CI:-}" PATH="$PATH" HOSTQOS="${HOSTQOS:-}" HOSTQOS_SLOW="$slow")
dir=$(mktemp -d)
log=$dir/log results=$dir/results failures=$dir/failures pid=
trap 'rm -rf "$dir"' EXIT
trap 'stop; exit 130' INT TERM HUP
set -m # each program is a process group, that can be ended whole and heeds SIGINT

stop() {
	local begun
	mapfile -t begun <<<"$(jobs -p)"
	[ -z "$pid" ] || kill -- "-$pid" 2>/dev/null
	[ "$jobs" = 1 ] || kill "${begun[@]}" 2>/dev/null
	wait
}

# Sum of the numbers in cmocka's lines of one kind, wherever they begin.
count() {
	grep -aoE "\[$1\][A-Za-z ]* [0-9]+ test\(s\)$2" "$log" | grep -oE '[0-9]+ t' |
		awk '{ n += $1 } END { print n + 0 }'
}

skip_allowed() {
	awk -v name="$1" -v where="$where" '$1 == where && $2 == name { found = 1 } END { exit !found }' \
		selftests/skips
}

# What the failed tests said, and where one ended that did not come to its end.
what_failed() {
	awk -v program="$1" '
	function tell(name, i) {
		print "failed: " program ": " name
		for (i = n > 12 ? n - 12 : 0; i < n; i++)
			print "failed:     " said[i]
	}
	/\[ RUN      \]/ { name = $NF; n = 0; next }
	/\[  FAILED  \] [A-Za-z0-9_]+$/ && name { tell(name) }
	/\[       OK \]|\[  FAILED  \]|\[  SKIPPED \]/ { name = "" }
	{ said[n++] = $0 }
	END { if (name) tell(name " did not end") }' "$log" >>"$failures"
}

fault() {
	echo "$*"
	echo "failed: $*" >>"$failures"
}

judge() {
	local program=${1#"$PWD"/} status=$2 announced passed failed skipped lost name
	announced=$(count '={10}' '\.')
	passed=$(count '  PASSED  ' '\.')
	failed=$(count '  FAILED  ' ', listed')
	skipped=$(count '  SKIPPED ' ', listed')
	lost=$((announced - passed - failed - skipped))
	what_failed "$program"
	if [ "$announced" = 0 ]; then
		lost=1
		fault "$program: ran no test (exit status $status)"
	elif [ $lost != 0 ]; then
		fault "$program: ended before $lost of its tests (exit status $status)"
	elif [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		lost=1
		fault "$program: exit status $status after its tests passed"
	fi
	while [ -n "${CI:-}" ] && read -r name; do
		skip_allowed "$name" && continue
		fault "$program: $name was skipped on $where, and selftests/skips does not list it"
		lost=$((lost + 1)) skipped=$((skipped - 1))
	done < <(sed -nE '/\[  SKIPPED \] [0-9]+ test/,$ s/^\[  SKIPPED \] ([A-Za-z_][A-Za-z0-9_]*)$/\1/p' "$log")
	echo "$passed passed, $((failed + lost)) failed, $skipped skipped" >>"$results"
}

run() {
	local program=$1 status began=$SECONDS
	: >"$log" # before tail looks
	[ "$jobs" != 1 ] || echo "--- ${program#"$PWD"/}"
	timeout -k 10 $((600 * slow)) "${under[@]}" "$program" >>"$log" 2>&1 </dev/null &
	pid=$!
	[ "$jobs" != 1 ] || tail -s 0.1 -n +1 -f --pid=$pid "$log" &
	wait $pid
	status=$?
	wait # for tail
	pid=
	[ "$jobs" = 1 ] || { echo "--- ${program#"$PWD"/}" && cat "$log"; }
	judge "$program" $status
	echo "--- ${program#"$PWD"/}: $((SECONDS - began)) s"
}

# One of several: what another has begun it leaves to that.
work() {
	local program number=0
	trap 'stop; exit 130' INT TERM HUP
	set -m
	log=$dir/log.$1
	for program in "${@:2}"; do
		mkdir "$claims/$((number++))" 2>/dev/null || continue
		flock "$dir" echo "begun: ${program#"$PWD"/}"
		run "$program" >"$log.said"
		flock "$dir" cat "$log.said"
	done
}

run_all() {
	local program job claims lost=$(($# + $(wc -l <"$results")))
	if [ "$jobs" = 1 ]; then
		for program; do
			run "$program"
		done
		return
	fi
	claims=$(mktemp -d -p "$dir")
	for ((job = 0; job < jobs; job++)); do
		work $job "$@" &
	done
	wait
	lost=$((lost - $(wc -l <"$results")))
	[ $lost = 0 ] || fault "$lost programs were not run to their end"
	[ $lost = 0 ] || echo "0 passed, $lost failed" >>"$results"
}

as_root() {
	local status
	if [ "$(id -u)" = 0 ] || [ ${#under[@]} != 0 ]; then
		run_all "$@"
	else
		${SUDO:-sudo} env CI="${CI:-}" PATH="$PATH" HOSTQOS="${HOSTQOS:-}" HOSTQOS_SLOW="$slow" \
			HOSTQOS_WHERE="$where" HOSTQOS_JOBS="$jobs" selftests/run.sh --root "$@" | tee "$log" | sed -u "\$d"
		status=${PIPESTATUS[0]}
		tail -n 1 "$log" >>"$results"
		[ "$status" = 0 ] || tail -n 1 "$log" | grep -q ' [1-9][0-9]* failed' ||
			echo "0 passed, 1 failed" >>"$results"
	fi
}

: >"$results"
: >"$failures"
programs=()
while [ $# != 0 ] && [ "$1" != --root ]; do
	programs+=("$1")
	shift
done
run_all "${programs[@]}"
[ $# -le 1 ] || as_root "${@:2}"
cat "$failures"
awk -f selftests/total.awk "$results"
