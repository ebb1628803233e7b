#!/usr/bin/env bash
# How often iopath regress cries wolf on this machine, and which slowdowns it finds:
# what the nightly job runs.
#
#   scripts/ci-selftest.sh [RUNS] [FLAG...]
#
# RUNS is how many runs are made, 20 by default, of some two or three minutes each.
# FLAG... are flags of iopath regress. The table is printed, and added to
# GITHUB_STEP_SUMMARY where that names a file. Exit status 1: more false alarms than a
# rate of 1 % explains, or 10 % slower found less often than 95 % explains, a system call
# that was missed, or most runs inconclusive.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-20}
[ $# -eq 0 ] || shift
case $runs in
'' | *[!0-9]*)
	echo "ci-selftest.sh: $runs is no number of runs (scripts/ci-selftest.sh 20)" >&2
	exit 2
	;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/iopath" ./cmd/iopath
status=0
"$work/iopath" regress -self-test -runs "$runs" -results "${RESULTS:-results}" "$@" | tee "$work/table" || status=$?
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$work/table" >>"$GITHUB_STEP_SUMMARY"
exit "$status"
