#!/usr/bin/env bash
# How long iopath takes for a large file of results, beside benchstat for its table
# of the same file, in turn; and for all charts of a run.
#
#   scripts/report-speed.sh [-n PAIRS] [-lines LINES] [RUN...]
#
# What it measured is printed as result lines, and compared by iopath advise.
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=6
lines=1000000
while [ $# -gt 0 ]; do
	case $1 in
	-n) pairs=$2; shift 2 ;;
	-lines) lines=$2; shift 2 ;;
	-*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] || set -- results/*/*/
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/iopath" ./cmd/iopath
go build -o "$work/benchstat" golang.org/x/perf/cmd/benchstat

# As many lines as asked for, of 500 cells, that vary as measurements do.
awk -v lines="$lines" 'BEGIN {
	print "goos: linux\ncpu: any\nUnit syscalls/op better=lower assume=exact"
	split("seq rand stride zipf sparse", pattern); split("4KiB 16KiB 64KiB 256KiB 1MiB", block)
	split("pread read mmap mmap+kept readv odirect os.File ReadAt bufio mmap+random", method); split("warm cold", cache)
	for (p = 1; p <= 5; p++) for (b = 1; b <= 5; b++) for (m = 1; m <= 10; m++) for (c = 1; c <= 2; c++)
		name[n++] = "BenchmarkRead/pattern=" pattern[p] "/cache=" cache[c] "/size=256MiB/block=" block[b] "/method=" method[m] "-2"
	for (i = 0; i < lines; i++) {
		ns = 1e8 * (0.9 + 0.2 * rand())
		printf "%s\t5\t%d ns/op\t%.2f MB/s\t%d syscalls/op\t%d minflt/op\n", name[i % n], ns, 268435456e3 / ns, 4096, 17
	}
}' >"$work/lines.txt"

# timed METHOD COMMAND...: its result line, of the time on the clock.
timed() {
	local method=$1 began
	shift
	began=$(date +%s%N)
	"$@" >/dev/null
	echo "BenchmarkReport/lines=$lines/method=$method 1 $(($(date +%s%N) - began)) ns/op" | tee -a "$work/speed.txt"
}
for ((i = 0; i < pairs; i++)); do
	if ((i % 2)); then
		timed benchstat "$work/benchstat" "$work/lines.txt"
		timed iopath "$work/iopath" report -out "$work/report" "$work/lines.txt"
	else
		timed iopath "$work/iopath" report -out "$work/report" "$work/lines.txt"
		timed benchstat "$work/benchstat" "$work/lines.txt"
	fi
done
"$work/iopath" advise "$work/speed.txt" || [ $? = 3 ]

echo
began=$(date +%s%N)
charts=$("$work/iopath" plot -out "$work/charts" "${@/%//bench.txt}" | wc -l)
echo "$charts files of charts of $# runs: $((($(date +%s%N) - began) / 1000000)) ms"
