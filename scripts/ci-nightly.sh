#!/usr/bin/env bash
# A night's entry into the history: this commit against the pinned baseline, added to
# the branch iopath-history, checked for change points, and drawn.
#
#   scripts/ci-nightly.sh [FLAG...]
#
# FLAG... are flags of iopath regress. scripts/baseline names the baseline's commit; a
# new one begins new series. Charts go to $RESULTS/history. Exit status: that of iopath
# history check: 1 where one of the last nights got worse, 3 while there are too few.
set -euo pipefail
cd "$(dirname "$0")/.."
results=${RESULTS:-results}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/iopath" ./cmd/iopath
run=$(date -u +%Y-%m-%dT%H-%M-%S)-nightly
status=0
# Worse than the baseline of long ago is no news, and noise is for the history to tell.
"$work/iopath" regress -base "$(cat scripts/baseline)" -head HEAD -results "$results" -run "$run" "$@" || status=$?
case $status in 0 | 1 | 3) ;; *) exit "$status" ;; esac
"$work/iopath" history add "$results"/*/"$run"
status=0
"$work/iopath" history check | tee "$work/check" || status=$?
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || { echo '```' && cat "$work/check" && echo '```'; } >>"$GITHUB_STEP_SUMMARY"
"$work/iopath" history plot -out "$results/history" || true # too few nights to draw
exit "$status"
