#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# test.sh "KERNELS" PROGRAM...: run test programs under Debian's kernels of these versions, such as
# "6.1 6.12", each in an emulated machine of its own. The packages are kept below $O/vm. A kernel that cannot be
# had or booted counts as a failure.
set -u
cd "$(dirname "$0")/../.." || exit
kernels=$1
shift
vm=$(realpath -m "${O:-build}/vm")
mkdir -p "$vm"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The versioned package of a kernel: what the metapackage depends on today.
package_of() {
	local meta
	for meta in "linux-image-$1-amd64" linux-image-amd64; do
		apt-cache depends --important "$meta" 2>/dev/null |
			sed -nE "s/^ *Depends: (linux-image-$1\.[^ ]*)$/\1/p"
	done | head -n 1
}

fetch() {
	local package dir=$vm/$1.$$
	package=$(package_of "$1")
	[ -n "$package" ] || { selftests/setup.sh --update && package=$(package_of "$1"); }
	if [ -z "$package" ]; then
		echo "the configured package sources have no linux-image of version $1" >&2
		return 1
	fi
	echo "$package: the kernel to test under"
	selftests/setup.sh --unpack "$package" "$dir" || return
	[ -e "$dir/lib" ] || ln -s usr/lib "$dir/lib"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$dir" "$(basename "$dir"/lib/modules/*)" || return
	mv -T "$dir" "$vm/$1" 2>/dev/null || rm -rf "$dir" # another run was faster
}

run() {
	local kernel=$1
	shift
	echo "=== Linux $kernel"
	[ -d "$vm/$kernel" ] || fetch "$kernel" || return
	HOSTQOS_KERNEL=$vm/$kernel HOSTQOS_WHERE=$kernel HOSTQOS_SLOW="${HOSTQOS_SLOW:-10}" \
		HOSTQOS_JOBS="${HOSTQOS_JOBS:-2}" VM_TIMEOUT="${VM_TIMEOUT:-2400}" \
		setpriv --pdeathsig TERM selftests/run.sh "$@" | tee "$tmp/out"
	summary=$(tail -n 1 "$tmp/out" | grep -E '^[0-9]+ passed, [0-9]+ failed')
}

if [ "$(uname -m)" != x86_64 ]; then
	echo "failed: this is $(uname -m); only x86_64 runs its programs under Debian's x86_64 kernels"
	kernels=
	echo "0 passed, 1 failed" >"$tmp/results"
fi
for kernel in $kernels; do
	summary=
	run "$kernel" "$@"
	[ -n "$summary" ] || { summary="0 passed, 1 failed" && echo "failed: Linux $kernel: no test was run"; }
	echo "$summary" >>"$tmp/results"
	echo "Linux $kernel: $summary"
done
awk -f selftests/total.awk "$tmp/results"
