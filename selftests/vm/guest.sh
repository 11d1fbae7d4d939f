#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
# guest.sh FOLDER: the rest of the emulated machine's boot; then runs the command, tells boot.sh its
# exit status and turns the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
mkdir -p /dev/pts /dev/shm /run/netns /run/lock
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
ip link set lo up
# Most come by themselves when they are asked for; some only by their names.
modprobe -a veth bridge macvlan vxlan 8021q dummy sch_htb sch_fq sch_ingress cls_u32 cls_bpf tcp_bbr tcp_diag udp_diag

stty -F /dev/ttyS1 raw
(cd "$1" && exec bash /run/command) </dev/null >/dev/ttyS1 2>&1
printf %d $? >/dev/ttyS2
echo o >/proc/sysrq-trigger
sleep infinity
