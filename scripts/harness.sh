#!/usr/bin/env bash
# What does the harness itself cost? Compares iopath's pread with a plain C loop
# that feeds the same consumer, and with fio's psync, which looks at no byte.
#
#   scripts/harness.sh [PAIRS]
#
# Both sides read the same warm file, pinned to the same CPU, in turn, in an order
# that is drawn for each pair. Prints the ratio of throughputs, iopath's to the
# other's: the median over the pairs and its 95 % interval (order statistics).
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-20}
jobs=40
cpu=$(($(nproc) - 1))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc -O2 -march=native -o "$work/pread" scripts/pread.c
go test -c -o "$work/bench.test" ./bench
# Makes the data file where there is none, and tells its size.
(cd bench && "$work/bench.test" -test.run '^$' -test.bench Read -methods null -blocks 1MiB -patterns seq \
	-cache warm -test.benchtime 1x >"$work/first")
size=$(sed -n 's/^BenchmarkRead.*size=\([^/]*\).*/\1/p' "$work/first")
file=.iopath/warm-$size.data

# iopath BLOCK CONSUMER: nanoseconds of a job.
iopath() {
	(cd bench && "$work/bench.test" -test.run '^$' -test.bench Read -test.benchtime "${jobs}x" \
		-cache warm -patterns seq -methods pread -blocks "$1" -consume "$2" -counter none) |
		awk '/^BenchmarkRead/ { for (i = 3; i < NF; i++) if ($(i + 1) == "ns/op") print $i }'
}

# bytes SIZE: 64KiB as a number.
bytes() {
	case $1 in
	*KiB) echo $((${1%KiB} << 10)) ;;
	*MiB) echo $((${1%MiB} << 20)) ;;
	*GiB) echo $((${1%GiB} << 30)) ;;
	esac
}

c_loop() { taskset -c "$cpu" "$work/pread" "$file" "$(bytes "$1")" "$2" "$jobs" | cut -d' ' -f1; }

# fio psync over the same file; runtime of one pass in nanoseconds, the mean of all.
fio_psync() {
	taskset -c "$cpu" fio --name=psync --filename="$file" --readonly --rw=read --bs="$(bytes "$1")" --ioengine=psync \
		--loops="$((jobs + 1))" --invalidate=0 --thread --output-format=terse --terse-version=3 --cpus_allowed="$cpu" |
		awk -F';' -v size="$(bytes "$size")" '{ printf "%.0f\n", size / ($7 * 1024) * 1e9 }'
}

# ratio OTHER BLOCK CONSUMER
ratio() {
	local other=$1 block=$2 consumer=$3 a b
	for ((i = 0; i < pairs; i++)); do
		if ((RANDOM % 2)); then
			a=$(iopath "$block" "$consumer")
			b=$("$other" "$block" "$consumer")
		else
			b=$("$other" "$block" "$consumer")
			a=$(iopath "$block" "$consumer")
		fi
		echo "$a $b"
	done >"$work/pairs"
	awk '{ print $2 / $1 }' "$work/pairs" | sort -g | awk -v label="$other block=$block consume=$consumer" '
		{ r[NR] = $1 }
		END {
			# The largest k for which the k-th values from both ends hold the
			# median with 95 %: P(Bin(n, 1/2) < k) <= 0.025.
			n = NR; p = 0.5 ^ n; cum = p; k = 0
			for (i = 1; cum <= 0.025; i++) { k = i; p = p * (n - i + 1) / i; cum += p }
			median = n % 2 ? r[(n + 1) / 2] : (r[n / 2] + r[n / 2 + 1]) / 2
			if (k > 0) interval = sprintf("[%.3f, %.3f]", r[k], r[n + 1 - k]); else interval = "(too few pairs for an interval)"
			printf "iopath pread / %-40s %.3f %s n=%d\n", label, median, interval, n
		}'
}

for block in 4KiB 64KiB; do
	ratio c_loop "$block" sum
done
if command -v fio >/dev/null; then
	for block in 4KiB 64KiB; do
		ratio fio_psync "$block" touch
	done
else
	echo "skipped: fio is not installed"
fi
