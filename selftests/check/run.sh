#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
# The house's style as far as a machine sees it; ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit
passed=0 failed=0

check() {
	local what=$1 found
	shift
	if found=$("$@" 2>&1); then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "failed: $what:"
		sed 's/^/failed:     /' <<<"$found"
	fi
}

# Prints what it finds, and fails if it found anything.
none() {
	! "$@" | grep .
}

c_files() { git ls-files '*.c' '*.h'; }
sources() { git ls-files '*.c' '*.h' '*.sh' '*.awk' Makefile .ci/run selftests/vm/init; }

[ -n "$(c_files)" ] || { echo "git lists no files here: $(git status 2>&1 | head -n 1)"; exit 1; }
formatted() { c_files | xargs -r clang-format --dry-run -Werror; }
unlicensed() { sources | xargs -r awk 'FNR <= 2 && /SPDX-License-Identifier: / { ok[FILENAME] = 1 }
	END { for (i = 1; i < ARGC; i++) if (!ok[ARGV[i]]) print ARGV[i] }'; }
bpf_not_gpl() { git ls-files 'bpf/*' '*.bpf.c' | xargs -r grep -L 'SPDX-License-Identifier: GPL-2.0-only'; }
long_files() { sources | xargs -r wc -l | awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines" }'; }
left_open() { sources | grep -v '^selftests/check/' | xargs -r grep -nE '\b(TODO|FIXME|XXX|HACK)\b|^#if 0'; }
shell_faults() { git ls-files '*.sh' .ci/run | xargs -r shellcheck -S warning; }

check "not as clang-format writes it" formatted
check "no SPDX line on top" none unlicensed
check "BPF programs that are not GPL-2.0-only" none bpf_not_gpl
check "longer than 600 lines: could a part live in its own room?" none long_files
check "left open" none left_open
check "shellcheck" shell_faults
echo "$passed passed, $failed failed"
[ $failed = 0 ]
