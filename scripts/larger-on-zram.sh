#!/usr/bin/env bash
# iopath larger on a device that is not what the methods wait for: ext4 on zram, which
# is memory, without read-ahead. On a slow disk a mapping's reclaim hides behind the
# disk; here it is seen on two CPUs. Needs root and a kernel with zram. The device is
# gone at the end.
#
#   scripts/larger-on-zram.sh [FLAG...]
#
# FLAG... are flags of iopath larger; -threads 32 -size 512MiB by themselves (limit
# 256MiB).
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- -threads 32 -size 512MiB
[ "$(id -u)" = 0 ] || {
	echo "larger-on-zram.sh: make a zram device: run as root" >&2
	exit 2
}
[ -r /sys/class/zram-control/hot_add ] || {
	echo "larger-on-zram.sh: the kernel has no zram (modprobe zram)" >&2
	exit 3
}
work=$(mktemp -d)
id=$(cat /sys/class/zram-control/hot_add)
clean() {
	if mountpoint -q "$work/mnt"; then umount "$work/mnt"; fi
	echo 1 >"/sys/block/zram$id/reset"
	echo "$id" >/sys/class/zram-control/hot_remove
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM
go build -o "$work/iopath" ./cmd/iopath
echo 4G >"/sys/block/zram$id/disksize" # at most: it takes what is written
mkfs.ext4 -q -b 4096 "/dev/zram$id"
mkdir "$work/mnt"
mount "/dev/zram$id" "$work/mnt"
echo 0 >"/sys/block/zram$id/queue/read_ahead_kb"
"$work/iopath" larger -dir "$work/mnt/iopath" "$@"
