#!/usr/bin/env bash
# How long iopath history check takes over ten years of nights, and how much memory.
#
#   scripts/history-speed.sh [-nights N] [-dir DIR] [-keep STORE]
#
# It makes a store of 3650 runs of 137 cells on two sides in 10 rounds, 10 million
# result lines: by git's plumbing, one file a month, packed as git gc leaves it. One
# cell in three changes for good, up to four times. The store is made below DIR
# (default: /var/tmp) and takes 300 MB, 3 GB while it is made; -keep leaves it at
# STORE, or takes the one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
nights=3650
dir=/var/tmp
keep=
while [ $# -gt 0 ]; do
	case $1 in
	-nights) nights=$2; shift 2 ;;
	-dir) dir=$2; shift 2 ;;
	-keep) keep=$(realpath -m "$2"); shift 2 ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2 ;;
	esac
done
free=$(df --output=avail -k "$dir" | tail -1)
[ "$free" -gt 4000000 ] || { echo "history-speed: $((free / 1024)) MB are free in $dir, want 4000 (name another -dir)" >&2; exit 2; }
work=$(mktemp -d -p "$dir")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
go build -o "$work/iopath" ./cmd/iopath
store=${keep:-$work/store}

# make_months writes the files of the months, as iopath history add would.
make_months() {
	awk -v nights="$nights" -v out="$work" 'BEGIN {
		srand(7)
		n = split("seq rand sparse stride", pattern); split("4KiB 64KiB 1MiB", block)
		split("read pread os.File mmap mmap+populate preadv2+dontcache odirect readv io_uring.8 ReadAt bufio null", method)
		for (p = 1; p <= 4; p++) for (b = 1; b <= 3; b++) for (m = 1; m <= 12; m++) if (cells < 137)
			name[cells++] = "BenchmarkRead/pattern=" pattern[p] "/cache=warm/size=16MiB/block=" block[b] "/method=" method[m] "-2"
		for (c = 0; c < cells; c++) {
			level[c] = 1; time[c] = 1e5 + 1e7 * rand(); calls[c] = 3 + int(5000 * rand())
			for (k = 0; k < 4 && c % 3 == 0; k++) at[c, k] = int(nights * rand())
		}
		split("31 28 31 30 31 30 31 31 30 31 30 31", days)
		year = 2016; month = 1; day = 1
		facts = "goos: linux\ngoarch: amd64\npkg: iopath/bench\ncpu: AMD EPYC\nmachine: epyc-2vcpu\ngo: go1.26.8\nkernel: Linux 6.18\nfs: ext4 relatime\ndevice: vda virtio 256GiB rotational=1\nreadahead: 8MiB\nllc: 32MiB\nmem: 23.5GiB\nvirt: kvm\ncpus: 2\ngovernor: none\npage-size: 4KiB"
		keys = "side:\ncommit:\ngoos:\ngoarch:\npkg:\ncpu:\nmachine:\ngo:\nkernel:\nfs:\ndevice:\nreadahead:\nllc:\nmem:\nvirt:\ncpus:\ngovernor:\npage-size:"
		for (night = 0; night < nights; night++) {
			file = sprintf("%s/%04d-%02d.txt", out, year, month)
			printf "# run: %04d-%02d-%02d\n# date: %04d-%02d-%02dT01:00:00Z\n# iopath regress: base=v1.0 head=main seed=%d\n%s\nUnit cpu-ns/op better=lower\nUnit ns/op better=lower\nUnit syscalls/op better=lower\nUnit syscalls/op assume=exact\n", year, month, day, year, month, day, night, facts >file
			for (c = 0; c < cells; c += 3) for (k = 0; k < 4; k++) if (at[c, k] == night) level[c] *= rand() < 0.5 ? 1.08 : 0.93
			for (round = 1; round <= 10; round++) {
				print "# round " round >file
				machine = 1 + 0.05 * rand()
				for (side = 0; side < 2; side++) {
					print "side: " (side ? "head" : "base") >file
					print "commit: " (side ? sprintf("%012x", night * 977 + 123456789) : "aaaaaaaaaaaa") >file
					for (c = 0; c < cells; c++) {
						ns = time[c] * machine * (1 + 0.02 * (rand() + rand() + rand() - 1.5)) * (side ? level[c] : 1)
						printf "%s\t%d\t%.1f ns/op\t%d cpu-ns/op\t%d syscalls/op\n", name[c], 20, ns, ns * 0.98, calls[c] >file
						lines++
					}
				}
			}
			print keys >file
			if (++day > days[month]) { day = 1; close(file); if (++month > 12) { month = 1; year++ } }
		}
		print lines
	}'
}
if [ -n "$keep" ] && [ -d "$keep" ]; then
	lines="(an earlier store:)"
else
	echo "making a store of $nights nights below $work"
	lines=$(make_months)
	git init -q --bare "$store"
	for file in "$work"/*.txt; do
		printf '100644 blob %s\t%s\n' "$(git -C "$store" hash-object -w --stdin <"$file")" "$(basename "$file")"
		rm "$file"
	done | git -C "$store" mktree >"$work/tree"
	commit=$(git -C "$store" -c user.name=t -c user.email=t@localhost commit-tree -m made "$(cat "$work/tree")")
	git -C "$store" update-ref refs/heads/iopath-history "$commit"
	git -C "$store" gc -q
fi
echo "$lines result lines, $(du -sh "$store" | cut -f1) packed, $(nproc) CPUs"

for run in 1 2 3; do
	code=0
	/usr/bin/time -v "$work/iopath" history check -repo "$store" >"$work/out" 2>"$work/time" || code=$?
	[ "$code" -le 1 ] || { cat "$work/time" >&2; exit 1; }
	awk -v run="$run" '
		/Elapsed/ { wall = $NF } /Maximum resident/ { mem = $NF } /User time/ { user = $NF } /System time/ { sys = $NF }
		END { printf "%d: %s on the clock, %s s user, %s s system, %d MiB at most in one process\n", run, wall, user, sys, mem / 1024 }' "$work/time"
done
echo
head -2 "$work/out"
tail -1 "$work/out"
