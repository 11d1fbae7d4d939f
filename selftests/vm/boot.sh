#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# boot.sh KERNEL COMMAND...: run the command as root, in this folder, under another kernel.
#
# KERNEL is an unpacked linux-image package. The machine is emulated by qemu; its root is this
# one's root file system over 9p, read-only below a tmpfs, so that what was compiled here runs
# there. Needs no rights. The kernel's messages go to the file VM_LOG. Exits with the command's
# status, or with 124 if the machine gave none within VM_TIMEOUT (default 3600) seconds or its
# kernel gave up; what that said last is told then.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
here=$(dirname "$(realpath "$0")")
kernel=$(realpath "$1")
shift
release=$(basename "$kernel"/lib/modules/*)
busybox=$(realpath "${O:-build}/unpacked/busybox-static/bin/busybox")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
log=${VM_LOG:-$tmp/log}

# What the kernel needs until it has its root: busybox, modules in loading order, and what to run.
root=$tmp/initramfs
mkdir -p "$root"/{bin,dev,proc,modules,host,rw,root}
cp "$busybox" "$root/bin/busybox"
cp "$here/init" "$root/init"
for module in virtio_pci 9pnet_virtio 9p overlay; do
	modprobe -d "$kernel" -S "$release" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tmp/modules"
order=100
while read -r file; do
	order=$((order + 1))
	to=$root/modules/$order-$(basename "$file")
	case $file in
	*.xz) xz -dc "$file" >"${to%.xz}" ;;
	*) cp "$file" "$to" ;;
	esac
done <"$tmp/modules"
cat >"$root/guest.env" <<END
MODULES=$(printf %q "$kernel/lib/modules/$release")
RELEASE=$release
GUEST=$(printf %q "$here/guest.sh")
FOLDER=$(printf %q "$PWD")
END
printf '%q ' "$@" >"$root/command"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/initramfs.cpio"

: >"$tmp/status"
: >"$log"
# The machine ends with timeout, which ends with this script, whatever ends that. One thread for
# both processors: of several, one translates a branch that a kernel is just patching (text_poke()),
# and the int3 that stands there for a moment is kept for good, so that all who come by are stuck.
# No "enhanced rep movsb": qemu emulates that byte by byte, which is half of the verifier's time.
setpriv --pdeathsig TERM timeout --foreground -k 5 "${VM_TIMEOUT:-3600}" setpriv --pdeathsig KILL \
	qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
	-accel tcg,thread=single -cpu max,-erms -smp 2 -m 2G \
	-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
	-device virtio-9p-pci,fsdev=root,mount_tag=root \
	-kernel "$kernel/boot/vmlinuz-$release" -initrd "$tmp/initramfs.cpio" \
	-append "console=ttyS0 loglevel=5 panic=-1 softlockup_panic=1 watchdog_thresh=60 mitigations=off" \
	-serial file:"$log" -serial stdio -serial file:"$tmp/status" </dev/null || true

status=$(cat "$tmp/status")
[ -n "$status" ] || { echo "the machine ended before the command did; its kernel said:" && tail -n 60 "$log"; } >&2
exit "${status:-124}"
