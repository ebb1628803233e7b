#!/usr/bin/env bash
# The same cells on several filesystems, a run each, and benchstat's comparison of
# them. Each filesystem is made anew on a loop device over a sparse file, which is
# read past the page cache (otherwise "cold" would be the cache of the file beneath),
# and is gone at the end. Needs root.
#
#   scripts/filesystems.sh [-f ext4,xfs,btrfs,tmpfs] [-s 4GiB] [-d DIR] [-o RESULTS] [-n NAME] [-- FLAG...]
#
#   -f  which filesystems; one without its mkfs is skipped
#   -s  size of each; -d where their files are (default: .iopath)
#   -o  directory of the results (default: results), -n the machine's name in them
#
# FLAG..., behind two hyphens, are flags of iopath bench (-- -workloads copy -rounds 6);
# without any, reads and writes by a few methods.
set -euo pipefail
cd "$(dirname "$0")/.."

filesystems=ext4,xfs,btrfs,tmpfs size=4GiB dir=.iopath results=results machine=
while getopts f:s:d:o:n: flag; do
	case $flag in
	f) filesystems=$OPTARG ;;
	s) size=$OPTARG ;;
	d) dir=$OPTARG ;;
	o) results=$OPTARG ;;
	n) machine=$OPTARG ;;
	*)
		sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,/^$/p' >&2
		exit 2
		;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- -workloads read,write -methods read,mmap,write,null -patterns seq,rand,append -sync none,end -blocks 64KiB -size 128MiB -rounds 6
[ "$(id -u)" = 0 ] || {
	echo "filesystems.sh: make filesystems on loop devices: run as root" >&2
	exit 2
}
for tool in losetup mount umount truncate go; do
	command -v "$tool" >/dev/null || {
		echo "filesystems.sh: $tool is not installed" >&2
		exit 2
	}
done

mkdir -p "$dir"
work=$(mktemp -d -p "$dir")
work=$(cd "$work" && pwd)
loop=
clean() {
	if mountpoint -q "$work/mnt"; then umount "$work/mnt"; fi
	if [ -n "$loop" ]; then losetup -d "$loop"; loop=; fi
	rm -f "$work/image"
}
trap 'clean; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/mnt"
go build -o "$work/iopath" ./cmd/iopath

make_on() { # FILESYSTEM DEVICE
	case $1 in
	ext4) mkfs.ext4 -q -F -b 4096 "$2" ;; # it would take 1 KiB for a small one
	xfs) mkfs.xfs -q -f "$2" ;;
	btrfs) mkfs.btrfs -q -f "$2" ;;
	esac
}

stamp=$(date +%Y-%m-%dT%H-%M-%S)
runs=()
for fs in ${filesystems//,/ }; do
	if [ "$fs" = tmpfs ]; then
		mount -t tmpfs -o size="${size%iB}" tmpfs "$work/mnt"
	elif ! command -v "mkfs.$fs" >/dev/null; then
		echo "skipped: $fs: mkfs.$fs is not installed"
		continue
	elif ! grep -qw "$fs" /proc/filesystems && ! modprobe -q "$fs"; then
		echo "skipped: $fs: the kernel does not have it"
		continue
	else
		truncate -s "${size%iB}" "$work/image"
		loop=$(losetup --find --show --direct-io=on "$work/image")
		make_on "$fs" "$loop"
		mount -t "$fs" "$loop" "$work/mnt"
	fi
	echo "== $fs"
	run=$stamp-$fs
	"$work/iopath" bench -results "$results" ${machine:+-machine "$machine"} -run "$run" -dir "$work/mnt/iopath" "$@" >/dev/null
	runs+=("$fs=$(echo "$results"/*/"$run"/bench.txt)")
	clean
done

if [ ${#runs[@]} -gt 1 ]; then
	files=("${runs[@]#*=}")
	keys=$(sed -n 's/^\([a-z][a-z0-9-]*\): .*/\1/p' "${files[@]}" | sort -u | paste -sd,)
	go tool benchstat -ignore "$keys" -filter '.unit:(B/s OR syscalls/op OR cpu-sec/op)' "${runs[@]}"
fi
printf '%s\n' "${runs[@]#*=}"
