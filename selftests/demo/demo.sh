#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# usage: demo.sh HOSTQOS_BINARY         (as root; `make demo` calls it)
#
# Media beside cross traffic at a 10 Mbit/s bottleneck, without and with
# hostqos. The experiment is in experiment.sh; this file gives it a place that
# vanishes with it:
#
# - a PID namespace: when its first process dies, for whatever reason, the
#   kernel kills all others in it, and waits for them;
# - a mount namespace with a /run and a BPF file system of its own: network
#   namespaces, captures and pinned programs live there and go when it goes;
# - one cgroup named by this script's pid, the only thing that others can see.
#   It is removed here; one that a killed demo left is removed by the next.
#
# DEMO_DIR: where the compiled helpers are; default: demo/ beside the binary.
set -u

die() {
	echo "demo: $*" >&2
	exit 1
}

[ $# -eq 1 ] || { echo "usage: demo.sh HOSTQOS_BINARY" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || die "network namespaces and BPF need root: run it with sudo"
hostqos=$(realpath -e "$1") || die "there is no $1: run make first"
helpers=$(realpath -e "${DEMO_DIR:-$(dirname "$hostqos")/demo}") ||
	die "the demo's helpers are not built: run make demo"
here=$(dirname "$(realpath -e "$0")")
for tool in ip tc nsenter unshare setpriv tcpdump iperf3 curl nginx; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
		die "$tool is missing: install iproute2 util-linux tcpdump iperf3 curl nginx"
done

unshare --mount --pid --fork true || die "namespaces cannot be made here: is this a container?"

cgroup_mount=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$cgroup_mount" ] || die "no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup"
cgroup=/hostqos-demo-$$

# Child cgroups first; one that still has processes in it stays.
remove_cgroup() {
	[ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
}

remove_stale_cgroups() {
	local stale
	for stale in "$cgroup_mount"/hostqos-demo-*; do
		[ -d "/proc/${stale##*-}" ] || remove_cgroup "$stale"
	done
}

# unshare waits for the first process of the namespace, which the kernel lets
# end only when all others there are gone.
experiment=
end_experiment() {
	local first
	if [ -n "$experiment" ]; then
		first=$(cat "/proc/$experiment/task/$experiment/children" 2>/dev/null)
		kill -KILL "${first:-$experiment}" 2>/dev/null
		wait "$experiment" 2>/dev/null
	fi
	remove_cgroup "$cgroup_mount$cgroup"
}

interrupted() {
	trap '' INT TERM HUP
	end_experiment
	trap - "$1"
	kill "-$1" $$
}

remove_stale_cgroups
for signal in INT TERM HUP; do
	# shellcheck disable=SC2064 # the name of the signal is meant
	trap "interrupted $signal" "$signal"
done
mkdir "$cgroup_mount$cgroup" || die "cannot make the cgroup $cgroup_mount$cgroup"

# A session of its own: Ctrl-C reaches this script alone, which ends the rest.
# When the experiment is killed, unshare 2.38 complains that it cannot unblock
# SIGKILL; the experiment itself writes its errors to descriptor 3.
setpriv --pdeathsig KILL setsid \
	unshare --mount --pid --fork --kill-child --mount-proc \
	"$here/experiment.sh" "$hostqos" "$helpers" "$cgroup" 3>&2 2>/dev/null &
experiment=$!
wait "$experiment"
status=$?
experiment=
end_experiment
[ ! -d "$cgroup_mount$cgroup" ] || die "$cgroup_mount$cgroup could not be removed"
exit "$status"
