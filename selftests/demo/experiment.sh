#!/bin/bash
# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#
# usage: experiment.sh HOSTQOS_BINARY HELPERS_DIR CGROUP
#
# Started by demo.sh in namespaces of its own (the first process there), never
# by hand. The network, after section 5 of the Sprint paper:
#
#   sender ── sender0 ┐                    10 Mbit/s
#                     router ── bottleneck ────────── receiver0 ── receiver
#   cross  ── cross0  ┘
#
# The sender and the cross-traffic host reach the router at the speed of veth;
# the router's link to the receiver carries 10 Mbit/s and schedules by the IP
# precedence, the upper three bits of the DSCP.
set -u
exec 2>&3 3>&-

hostqos=$1 helpers=$2 cgroup=$3
here=$(dirname "$0")
instance=${cgroup#/hostqos-}
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

link_mbit=10      # the bottleneck
queue_packets=100 # of each precedence: 100 ms of cross traffic
cross_mbit=30
bursts=4          # of 2 s, with 2 s between, before and after
media_kbit=384
media_bytes=480   # payload: 100 packets a second
control_every=0.2 # seconds between attempts
control_limit=5   # seconds for one attempt
seconds=$((4 * bursts + 2))
run_limit=$((seconds + 8)) # seconds for any program

die() {
	echo "demo: $*" >&2
	exit 1
}

try() {
	"$@" || die "this failed: $*"
}

# `ip netns exec` would hide the cgroup and BPF file systems.
in_ns() {
	local ns=$1
	shift
	nsenter --net=/run/netns/"$ns" -- "$@"
}

# ---- the network ----

configure_end() { # NAMESPACE INTERFACE LINK SELF PEER
	try ip -n "$1" -batch - <<-EOF
		address add 198.18.$3.$4/24 dev $2
		address add 2001:db8:$3::$4/64 dev $2 nodad
		link set $2 up
		neighbour add 198.18.$3.$5 lladdr 02:00:00:00:0$3:0$5 dev $2 nud permanent
		neighbour add 2001:db8:$3::$5 lladdr 02:00:00:00:0$3:0$5 dev $2 nud permanent
	EOF
}

# With fixed addresses and neighbours, nothing but the traffic under study
# meets the queue, and duplicate address detection delays nothing.
make_link() { # LINK FROM INTERFACE TO INTERFACE
	try ip link add "$3" netns "$2" address "02:00:00:00:0$1:01" type veth \
		peer name "$5" netns "$4" address "02:00:00:00:0$1:02"
	configure_end "$2" "$3" "$1" 1 2
	configure_end "$4" "$5" "$1" 2 1
}

# What the cross-traffic host sends goes to a network behind the receiver,
# which forwards nothing: a sink that does not answer.
make_network() {
	local ns
	for ns in sender cross router receiver; do
		try ip netns add "$ns"
		try ip -n "$ns" link set lo up
	done
	try in_ns router sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	make_link 1 sender sender0 router near
	make_link 2 cross cross0 router side
	make_link 3 router bottleneck receiver receiver0
	try ip -n sender route add default via 198.18.1.2
	try ip -n sender route add default via 2001:db8:1::2
	try ip -n cross route add default via 198.18.2.2
	try ip -n receiver route add default via 198.18.3.1
	try ip -n receiver route add default via 2001:db8:3::1
	try ip -n router route add 203.0.113.0/24 via 198.18.3.2
}

# One queue for each precedence, served as by weighted fair queueing with the
# weights 1 to 8: each class is sure of its share and may borrow all the rest.
# HTB delays packets, not bits: the millisecond that a packet of the best class
# would wait for the one on the wire at 10 Mbit/s is not in the figures.
schedule_bottleneck() {
	local precedence class tos rate
	try tc -n router qdisc add dev bottleneck root handle 1: htb default 10
	try tc -n router class add dev bottleneck parent 1: classid 1:1 \
		htb rate ${link_mbit}mbit burst 3kb cburst 3kb quantum 1514
	for precedence in 0 1 2 3 4 5 6 7; do
		class=1$precedence
		tos=$((precedence << 5))
		rate=$((link_mbit * 1000 * (precedence + 1) / 36))kbit
		try tc -n router class add dev bottleneck parent 1:1 classid 1:$class \
			htb rate $rate ceil ${link_mbit}mbit burst 3kb cburst 3kb \
			quantum $((1514 * (precedence + 1)))
		try tc -n router qdisc add dev bottleneck parent 1:$class pfifo limit $queue_packets
		try tc -n router filter add dev bottleneck parent 1: protocol ip prio 1 \
			u32 match ip tos $tos 0xe0 flowid 1:$class
		try tc -n router filter add dev bottleneck parent 1: protocol ipv6 prio 2 \
			u32 match ip6 priority $tos 0xe0 flowid 1:$class
	done
}

# nginx returns when its sockets listen.
start_web_server() {
	cat >/run/demo/nginx.conf <<-EOF
		worker_processes 1;
		error_log stderr;
		pid /run/demo/nginx.pid;
		events {}
		http {
			access_log off;
			client_body_temp_path /run/demo;
			proxy_temp_path /run/demo;
			fastcgi_temp_path /run/demo;
			uwsgi_temp_path /run/demo;
			scgi_temp_path /run/demo;
			server { listen [::]:80; return 200 "in session\n"; }
		}
	EOF
	try in_ns receiver nginx -e stderr -c /run/demo/nginx.conf
}

# ---- one run ----

# Start a program in a network namespace, for a bounded time; $output reads
# what it prints, and ends when it ends. $! is its pid.
start_reading() { # NAMESPACE PROGRAM ARGUMENT...
	local ns=$1
	shift
	exec {output}< <(exec nsenter --net=/run/netns/"$ns" -- timeout $run_limit "$@" 2>&1)
}

# Read from file descriptor $1 until a line holds $2, the event awaited.
await() {
	local line
	while read -r line <&"$1"; do
		[[ $line == *$2* ]] && return
		messages+="$line"$'\n'
	done
	die "$3 ended before it was ready: $messages"
}

await_end() { # FD
	local fd=$1
	cat <&"$fd" >/dev/null
	exec {fd}<&-
}

start_capture() { # NAMESPACE INTERFACE FILE
	start_reading "$1" tcpdump -n -i "$2" -s 128 -B 8192 -Z root -w "$3" \
		--time-stamp-precision nano 'udp port 5201 or tcp port 80'
	capture_pids+=($!)
	capture_fds+=("$output")
	await "$output" "listening on" tcpdump
}

stop_captures() {
	local fd
	kill -TERM "${capture_pids[@]}" || die "the captures ended early: this machine is too busy"
	for fd in "${capture_fds[@]}"; do
		await_end "$fd"
	done
}

# Attempts start at their times whether or not earlier ones have succeeded.
set_up_connections() { # WHILE_PID PREFIX...
	local while_pid=$1 attempts=()
	shift
	while kill -0 "$while_pid" 2>/dev/null; do
		in_ns sender "$@" curl -q -s -o /dev/null --noproxy '*' \
			--max-time $control_limit 'http://[2001:db8:3::2]/' &
		attempts+=($!)
		sleep $control_every
	done
	wait "${attempts[@]}"
}

# What stands before each program is nothing or `hostqos run`.
run() { # NAME MEDIA_PREFIX CONTROL_PREFIX
	local folder=/run/demo/$1 media_prefix=$2 control_prefix=$3
	local capture_pids=() capture_fds=() output server media messages=
	try mkdir "$folder"
	start_capture sender sender0 "$folder/near.pcap"
	start_capture receiver receiver0 "$folder/far.pcap"
	start_reading receiver iperf3 -s -1 --forceflush
	server=$output
	await "$server" "listening" "the receiver of the media stream"
	# Lasts a second longer than the cross traffic, of which nothing is judged.
	# shellcheck disable=SC2086 # a prefix is several words
	start_reading sender $media_prefix iperf3 -u -c 198.18.3.2 -b ${media_kbit}k \
		-l $media_bytes -t $((seconds + 1)) --forceflush
	media=$output
	await "$media" "connected to" "the media stream"

	in_ns cross "$helpers/burst" 203.0.113.1 9 ${cross_mbit}000000 $bursts >"$folder/phases" &
	# shellcheck disable=SC2086
	set_up_connections $! $control_prefix
	await_end "$media"
	await_end "$server"
	stop_captures
}

# ---- the experiment ----

hostqos() {
	in_ns sender "$hostqos" --instance "$instance" "$@" ||
		die "this failed: hostqos $*"
}

try mount -t tmpfs -o mode=755 tmpfs /run
try mount -t bpf bpf /sys/fs/bpf
try mkdir /run/demo
make_network
schedule_bottleneck
start_web_server

cat <<-EOF
	Media (UDP, $media_kbit kbit/s) and a control connection (TCP, tried every $control_every s) share a
	$link_mbit Mbit/s link with $cross_mbit Mbit/s of cross traffic, 2 s on and 2 s off. The router schedules by
	IP precedence. First $seconds s without hostqos: every packet is best effort.
EOF
run without "" ""

sed "s|/hostqos-demo|$cgroup|" "$here/demo.yaml" >/run/demo/demo.yaml || die "cannot write the policy"
printf '\nThe same %s s with hostqos on the sender, the programs unchanged:\n' $seconds
hostqos apply /run/demo/demo.yaml
governed="$hostqos --instance $instance run --class"
run with "$governed media --" "$governed control --"

echo
"$helpers/figures" /run/demo/without /run/demo/with
status=$?
cat <<-EOF

	How to read it: as soon as the sender's packets carry a mark that the router prefers, the "on" column
	of the right half looks like its "off" column.

EOF
hostqos show classes
hostqos detach
exit $status
