#!/usr/bin/env bash
# Holds iopath against fio, against plain loops in C, and against iperf3, at the
# same work in one run.
#
#   scripts/crosscheck.sh [-n PAIRS] [-s SIZE] [-o PAGE] [REGEX]
#
# Each row is PAIRS pairs of samples (default 11), in an order that is drawn for
# each pair, both sides pinned to the same CPUs. Prints the ratio of throughputs,
# iopath's to the other's: the median over the pairs and its 95 % interval (order
# statistics; none below 6 pairs). The file has SIZE (default: as iopath chooses).
# Rows that do not match REGEX are left out. With -o, the table in PAGE, between its
# two markers, is replaced by this one.
#
# What each row compares, and why they differ where they do: scripts/crosscheck.md.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=11 page='' sized=()
while getopts n:s:o: flag; do
	case $flag in
	n) pairs=$OPTARG ;;
	s) sized=(-size "$OPTARG") ;;
	o) page=$OPTARG ;;
	*) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
only=${1:-.}
[[ $pairs =~ ^[1-9][0-9]*$ ]] || { echo "crosscheck: -n $pairs is not a number of pairs" >&2; exit 2; }
[ -z "$page" ] || [ -w "$page" ] || { echo "crosscheck: -o $page: there is no such page to write to" >&2; exit 2; }

# The sides run on the last CPU, the other end of a socket on the first, as in
# iopath.
cpu=$(($(nproc) - 1))
work=$(mktemp -d)
held=
ended() {
	[ -z "$held" ] || kill "$held" 2>/dev/null || true
	rm -rf "$work"
}
trap ended EXIT
trap 'exit 130' INT TERM

# bytes SIZE: 64KiB as a number.
bytes() {
	case $1 in
	*KiB) echo $((${1%KiB} << 10)) ;;
	*MiB) echo $((${1%MiB} << 20)) ;;
	*GiB) echo $((${1%GiB} << 30)) ;;
	*B) echo "${1%B}" ;;
	esac
}

go test -c -o "$work/bench.test" ./bench
# bench BENCHMARK FLAG...: MB/s of its only cell.
bench() {
	local name=$1 try
	shift
	# Where the machine takes the file out of the page cache meanwhile, once more.
	for try in 1 2 3; do
		(cd bench && "$work/bench.test" -test.run '^$' -test.bench "$name" -counter none "$@") >"$work/bench.out" && break
		[ "$try" -lt 3 ] || { cat "$work/bench.out" >&2; return 1; }
	done
	awk '/^Benchmark/ { for (i = 3; i < NF; i++) if ($(i + 1) == "MB/s") print $i }' "$work/bench.out"
}
# size STATE: of the data file, which is made where there is none.
size() {
	bench Read -methods pread -patterns seq -blocks 1MiB -cache "$1" "${sized[@]}" -test.benchtime 1x >/dev/null
	sed -n 's/^BenchmarkRead.*size=\([^/]*\).*/\1/p' "$work/bench.out"
}
warm=$(size warm) cold=$(size cold)
warm_file=.iopath/warm-$warm.data cold_file=.iopath/cold-$cold.data

# A warm sample is of as many jobs as take about half a second.
jobs=40

# Each side prints its throughput in MB/s. $1 is the other one's name for the work.
iopath_read() { # METHOD CONSUMER PATTERN CACHE BLOCK
	local time=${jobs}x
	[ "$4" = warm ] || time=1x
	bench Read -methods "$1" -consume "$2" -patterns "$3" -cache "$4" -blocks "$5" "${sized[@]}" -test.benchtime "$time"
}

# order BLOCK: the cold file's blocks, each once in random order, for fio to replay.
order() {
	local file=$PWD/$cold_file
	echo "fio version 2 iolog"
	echo "$file add"
	echo "$file open"
	awk -v n="$(($(bytes "$cold") / $(bytes "$1")))" 'BEGIN { srand(1); for (i = 0; i < n; i++) print rand(), i }' |
		sort -g | awk -v file="$file" -v block="$(bytes "$1")" '{ print file, "read", $2 * block, block }'
	echo "$file close"
}

fio_read() { # ENGINE PATTERN CACHE BLOCK
	local rw=read file=$warm_file loops=$jobs work_of
	[ "$2" = seq ] || rw=randread
	if [ "$3" = cold ]; then
		file=$cold_file loops=1
		dd if="$file" iflag=nocache count=0 2>/dev/null
	fi
	work_of=("--filename=$file" "--rw=$rw" "--bs=$(bytes "$4")" "--loops=$loops")
	if [ "$1 $2 $3" = "psync rand cold" ]; then
		# fio's own random order takes neighbours of what it has read, and the kernel
		# then reads ahead. (With its mmap engine it cannot replay one.)
		[ -s "$work/order-$4" ] || order "$4" >"$work/order-$4"
		work_of=("--read_iolog=$work/order-$4")
	fi
	# No advice to the kernel, as iopath gives none, and no eviction while warm. The
	# buffer on a page, so that large blocks are copied as fast as they can be.
	taskset -c "$cpu" fio --name=x "${work_of[@]}" --readonly --ioengine="$1" \
		--fadvise_hint=0 --invalidate=0 --iomem_align=4k --thread --output-format=terse --terse-version=3 |
		awk -F';' '{ print $6 * 1024 / ($9 * 1000) }'
}

# Past the page cache; each sample is so many jobs.
uring_jobs=4
iopath_uring() { # DEPTH
	bench Read -methods "io_uring.$1+odirect" -consume touch -patterns rand -cache cold -blocks 4KiB "${sized[@]}" -test.benchtime ${uring_jobs}x
}
fio_uring() { # DEPTH
	taskset -c "$cpu" fio --name=x --filename="$cold_file" --rw=randread --bs=4096 --loops=$uring_jobs --readonly \
		--ioengine=io_uring --iodepth="$1" --direct=1 --fixedbufs --registerfiles \
		--thread --output-format=terse --terse-version=3 |
		awk -F';' '{ print $6 * 1024 / ($9 * 1000) }'
}

c_read() { # METHOD CONSUMER PATTERN BLOCK
	taskset -c "$cpu" "$work/loop" "$1" "$3" "$warm_file" "$(bytes "$4")" "$2" "$jobs" |
		awk -v size="$(bytes "$warm")" '{ print size / $1 * 1000 }'
}

# The file of a send is small enough for the cache, since iperf3 -Z sends the same
# block again and again.
send_size=16MiB
iopath_send() { # METHOD
	bench Send -transports tcp -methods "$1" -consume touch -cache warm -size $send_size -blocks 128KiB -test.benchtime 200x
}
iopath_socket() {
	bench Ceiling -transports tcp -workloads send -methods null -consume touch -cache warm -size $send_size -blocks 128KiB -test.benchtime 200x
}
iperf() { # FLAG...
	taskset -c 0 iperf3 -s -1 -B 127.0.0.1 -p 15201 >/dev/null &
	sleep 0.2
	taskset -c "$cpu" iperf3 -c 127.0.0.1 -p 15201 -l 128K -n 3G -J "$@" |
		awk '/"sum_received"/ { on = 1 } on && /"bits_per_second"/ { gsub(/[^0-9.e+]/, "", $2); print $2 / 8e6; exit }'
	wait $!
}

# reason ROW: why it differs: the number of a paragraph in scripts/crosscheck.md.
reason() {
	case $1 in
	"fio "*", 4KiB,"*) echo "1" ;;
	"C mmap"*touch*) echo "2" ;;
	"C mmap, seq, 4KiB,"*sum*) echo "3" ;;
	*) echo "not found" ;;
	esac
}

# compare LABEL WORK: iopath's side and the other's, each a command in quotes.
compare() {
	local label=$1 ours=$2 theirs=$3 i a b line
	[[ $label =~ $only ]] || return 0
	for ((i = 0; i < pairs; i++)); do
		if ((RANDOM % 2)); then
			a=$($ours)
			b=$($theirs)
		else
			b=$($theirs)
			a=$($ours)
		fi
		echo "$a $b"
	done >"$work/pairs"
	line=$(awk '{ print $1 / $2, $1, $2 }' "$work/pairs" | sort -g | awk -v label="$label" '
		{ r[NR] = $1; a[NR] = $2; b[NR] = $3 }
		function middle(v, n) { return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2 }
		function ordered(v, n, i, j, t) { for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t } }
		END {
			# The largest k for which the k-th values from both ends hold the
			# median with 95 %: P(Bin(n, 1/2) < k) <= 0.025.
			n = NR; p = 0.5 ^ n; cum = p; k = 0
			for (i = 1; cum <= 0.025; i++) { k = i; p = p * (n - i + 1) / i; cum += p }
			interval = k > 0 ? sprintf("[%.3f, %.3f]", r[k], r[n + 1 - k]) : "-"
			ordered(a, n); ordered(b, n)
			m = middle(r, n)
			why = m <= 1.05 && m >= 0.95 ? "" : k > 0 && r[k] <= 1 && r[n + 1 - k] >= 1 ? "the interval holds 1" : "WHY"
			printf "| %s | %.0f | %.0f | %.3f | %s | %d | %s |", label, middle(a, n), middle(b, n), m, interval, n, why
		}')
	echo "${line/WHY/$(reason "$label")}" | tee -a "$work/table"
}

missing() { echo "skipped: $1 is not installed" >&2; }

{
	echo "| against | iopath MB/s | other MB/s | ratio | 95 % interval | n | why, where beyond 5 % |"
	echo "|---|---:|---:|---:|---|---:|---|"
} | tee "$work/table"

if command -v cc >/dev/null && echo '#include <xxhash.h>' | cc -E - >/dev/null 2>&1; then
	cc -O2 -march=native -o "$work/loop" scripts/loop.c
	# So that the kernel keeps the file for those who do not map it.
	"$work/loop" hold "$warm_file" >"$work/held" &
	held=$!
	until [ -s "$work/held" ]; do sleep 0.05; done
	for work_of in "pread sum" "mmap sum" "mmap touch"; do
		read -r method consumer <<<"$work_of"
		for pattern in seq rand; do
			for block in 4KiB 64KiB 1MiB; do
				compare "C $method, $pattern, $block, warm, $consumer" \
					"iopath_read $method $consumer $pattern warm $block" "c_read $method $consumer $pattern $block"
			done
		done
	done
else
	missing "cc, or xxhash.h"
fi
if command -v fio >/dev/null; then
	for cache in warm cold; do
		for pattern in seq rand; do
			for block in 4KiB 64KiB 1MiB; do
				# fio copies out of the mapping, as consume=copy does; psync copies
				# once, which is pread itself.
				compare "fio psync, $pattern, $block, $cache, touch" \
					"iopath_read pread touch $pattern $cache $block" "fio_read psync $pattern $cache $block"
				compare "fio mmap, $pattern, $block, $cache, copy" \
					"iopath_read mmap copy $pattern $cache $block" "fio_read mmap $pattern $cache $block"
			done
		done
	done
	for depth in 1 8 32; do
		compare "fio io_uring, rand, 4KiB, O_DIRECT, depth $depth" "iopath_uring $depth" "fio_uring $depth"
	done
else
	missing fio
fi
if command -v iperf3 >/dev/null; then
	compare "iperf3, 128KiB, write of one buffer" iopath_socket iperf
	compare "iperf3 -F, 128KiB, read+write" "iopath_send read+write" "iperf -F .iopath/warm-$send_size.data"
	compare "iperf3 -Z, 128KiB, sendfile" "iopath_send sendfile" "iperf -Z"
else
	missing iperf3
fi

if [ -n "$page" ]; then
	awk -v table="$work/table" '
		/^<!-- \/table -->/ { on = 0 }
		!on
		/^<!-- table/ { on = 1; while ((getline line <table) > 0) print line }' "$page" >"$work/page"
	cat "$work/page" >"$page"
fi
