#!/usr/bin/env bash
# Measures the work tree against a commit, as CI does for a pull request, and as `make
# regress BASE=main` does by hand.
#
#   scripts/ci-regress.sh BASE [FLAG...]
#
# FLAG... are flags of iopath regress. Where GITHUB_STEP_SUMMARY names a file, the
# verdict is added to it. Exit status: 0 fine, or inconclusive in CI, which then says so
# in a warning: a noisy machine is not the pull request's fault; else that of iopath
# regress: 1 regression, 2 bad input, 3 inconclusive.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || {
	echo "ci-regress.sh: against what? (scripts/ci-regress.sh main)" >&2
	exit 2
}
base=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/iopath" ./cmd/iopath # go run would hide the exit status
status=0
"$work/iopath" regress -base "$base" -results "${RESULTS:-results}" \
	-accepted results/accepted.txt -waivers results/waivers.txt "$@" | tee "$work/verdict" || status=$?
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
	newest=$(find "${RESULTS:-results}" -name verdict.json -newer "$work/iopath" -print -quit 2>/dev/null || true)
	# The summary shows no files; the chart is among the job's artifacts.
	[ -z "$newest" ] || grep -v '^!\[' "${newest%/*}/README.md" >>"$GITHUB_STEP_SUMMARY"
fi
if [ "$status" = 3 ] && [ -n "${CI:-}" ]; then
	echo "::warning title=regress::$(head -n 1 "$work/verdict")"
	status=0
fi
exit "$status"
