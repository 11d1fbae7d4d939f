#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# setup.sh GROUP...             install through apt what these groups lack; elsewhere, say what
# setup.sh --check GROUP...     only say what they lack, and fail if anything
# setup.sh --unpack PACKAGE DIR fetch a Debian package and unpack it as DIR, installing nothing
# setup.sh --update             have apt read the lists of packages again
#
# Nothing missing: no apt, no network, no root. O is the build folder, as for make.
set -eu
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
unpacked=$(realpath -m "${O:-build}/unpacked")

# Groups, package, how to know that it is there, what for. A package with a "+" is unpacked below
# the build folder instead: nginx and haproxy would start a service, busybox-static would replace busybox.
table='
build,test,vm  gcc               cc:stdio.h            compiles the command and the tests
build,test,vm  libc6-dev         cc:stdio.h            the headers of the C library and the kernel
build,test,vm  pkg-config        pkg-config            finds the libraries
build          clang             clang                 compiles the BPF programs
build          bpftool           bpftool               links them and makes their skeleton
build          libbpf-dev        pc:libbpf>=1.1        loads and attaches the BPF programs
build          libyaml-dev       pc:yaml-0.1           reads policies
build          libjson-c-dev     pc:json-c             writes JSON
build          libnl-route-3-dev pc:libnl-route-3.0    knows the network interfaces
build          libmd-dev         pc:libmd              hashes policies
test,vm        libcmocka-dev     pc:cmocka             runs the tests
test,demo,vm   libpcap-dev       pc:libpcap            captures packets on the far side
test,vm        nftables          nft                   translates addresses
test,demo,vm   iproute2          ip                    makes namespaces and schedulers
demo           procps            sysctl                turns a namespace into a router
test,demo,vm   iperf3            iperf3                sends and receives TCP and UDP
test,demo,vm   tcpdump           tcpdump               captures packets, and reads captures
test,vm        mptcpize          mptcpize              makes programs speak MPTCP
test,demo,vm   curl              curl                  fetches, over IPv4 and IPv6
test,demo,vm   nginx+            nginx                 serves, over IPv4 and IPv6
test,vm        haproxy+          haproxy               is a proxy of two modes
test,vm        liblua5.3-0       lib:liblua5.3.so.0    which it needs
test,vm        libopentracing-c-wrapper0 lib:libopentracing-c-wrapper.so.0 which it needs
vm             qemu-system-x86   qemu-system-x86_64    emulates the machine
vm             busybox-static+   busybox.static        boots it
vm             cpio              cpio                  packs its first files
vm             kmod              modprobe              finds the modules of its kernel
vm             xz-utils          xz                    unpacks them
check          git               git                   knows the files
check          clang-format      clang-format          checks the C style
check          shellcheck        shellcheck            checks the scripts
'

die() {
	echo "setup: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed and there is no sudo; as root, run: $*"
	fi
}

present() {
	case $1 in
	cc:*) echo "#include <${1#cc:}>" | ${CC:-gcc} -E - >/dev/null 2>&1 ;;
	pc:*) pkg-config --exists "$(sed 's/^pc://; s/>=/ >= /' <<<"$1")" 2>/dev/null ;;
	busybox.static) [ -x "$unpacked/busybox-static/bin/busybox" ] ;;
	lib:*) ldconfig -p | grep -qF "${1#lib:}" ;;
	nginx | haproxy) command -v "$1" >/dev/null || [ -x "$unpacked/$1/usr/sbin/$1" ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# PACKAGE WHY, one a line, of what the groups lack.
missing() {
	local groups package probe why
	while read -r groups package probe why; do
		[[ ",$groups," =~ ,(${1}), ]] && ! present "$probe" && echo "$package $why"
	done <<<"$(sed '/^$/d' <<<"$table")"
	return 0
}

update() {
	as_root apt-get -q update
}

know_packages() {
	local package
	for package; do
		apt-cache show "$package" >/dev/null 2>&1 || { update; return; }
	done
}

install_packages() {
	know_packages "$@"
	apt_install "$@" || { update && apt_install "$@"; }
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" </dev/null
}

unpack() {
	local package=$1
	to=$2
	know_packages "$package"
	mkdir -p "$(dirname "$to")"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp" "$to.$$"' EXIT
	[ "$(id -u)" != 0 ] || chown _apt "$tmp" # whose rights apt downloads with
	(cd "$tmp" && { apt-get -q download "$package" || { update && apt-get -q download "$package"; }; })
	dpkg -x "$tmp"/*.deb "$to.$$"
	mv -T "$to.$$" "$to" 2>/dev/null || [ -d "$to" ] # another run may have been faster
}

mode=install
case ${1:-} in
--unpack)
	unpack "$2" "$3"
	exit
	;;
--update)
	update
	exit
	;;
--check)
	mode=check
	shift
	;;
esac
groups=$(IFS='|'; echo "$*")
lacks=$(missing "$groups")
[ -n "$lacks" ] || exit 0
echo "hostqos needs these packages (named as in Debian) for: $*"
sed -E 's/^([^ +]*)\+? /  \1: /' <<<"$lacks"
[ $mode = install ] || die "run \`make setup-${*: -1}\`, or: apt-get install $(sed -E 's/\+? .*//' <<<"$lacks" | xargs)"
command -v apt-get >/dev/null || die "no apt here: install them with this system's package manager, then try again"
mapfile -t install < <(sed -nE 's/^([^ +]*) .*/\1/p' <<<"$lacks")
mapfile -t unpack < <(sed -nE 's/^([^ +]*)\+ .*/\1/p' <<<"$lacks")
[ ${#install[@]} = 0 ] || install_packages "${install[@]}"
for package in "${unpack[@]}"; do
	(unpack "$package" "$unpacked/$package")
done
lacks=$(missing "$groups")
[ -z "$lacks" ] || die "still missing after the installation: $(sed -E 's/\+? .*//' <<<"$lacks" | xargs)"
