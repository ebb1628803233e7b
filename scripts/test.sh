#!/usr/bin/env bash
# Everything that proves the suite: what `make test` runs, and CI.
#
# It needs Go, make and git. What needs more (a C compiler, shellcheck, root, a
# network) is skipped with a line "skipped: WHAT: WHY"; they are listed again at
# the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=()

# step NAME COMMAND...: runs it, and shows what it printed if it fails.
step() {
	local name=$1 began=$SECONDS
	shift
	if "$@" >"$log/out" 2>&1; then
		printf 'ok       %-12s %ds\n' "$name" $((SECONDS - began))
	else
		printf 'FAILED   %-12s %s\n' "$name" "$*"
		cat "$log/out"
		failed+=("$name")
		# Once more at the end, where they are not lost among all the rest.
		awk -v step="$name" '
			/^=== (RUN|NAME|CONT)/ { test = $3 }
			/^ +[a-z_]+\.go:[0-9]+: / { said[test] = said[test] "\n" $0 }
			/^ *--- FAIL/ { print "failed: " step ": " $3 said[$3] }
			/^(panic:|FAIL\t|WARNING: DATA RACE)/ { print "failed: " step ": " $0 }' "$log/out" >>"$log/failures"
	fi
	# What the tests themselves skipped, and why. The race detector's run repeats
	# them, and skips what cannot be counted under it.
	[ "$name" = race ] || awk '
		/^=== (RUN|NAME|CONT)/ { test = $3 }
		/^ +[a-z_]+\.go:[0-9]+: / { sub(/^ +[a-z_]+\.go:[0-9]+: /, ""); reason[test] = $0 }
		/^ *--- SKIP/ { print "skipped: " $3 ": " reason[$3] }' "$log/out" >>"$log/skipped"
}

skip() {
	echo "skipped: $1: $2" | tee -a "$log/skipped"
}

formatted() {
	local bad
	bad=$(gofmt -l .)
	[ -z "$bad" ] || { echo "gofmt would change: $bad"; return 1; }
}

# Every cell of the standard profile once, and each method in each role, on a small
# file: the path of each is proven where calls can be counted.
cells() {
	go test ./bench -run '^$' -bench . -benchtime=1x -size=2MiB -dir="$log/data" &&
		go run ./cmd/iopath bench -profile paths -rounds 1 -benchtime 1x -size 2MiB -settle 0 -dir "$log/data" -results "$log/results"
}

# A method in a module of its own: conformance, cells, counts, table and charts.
example() {
	(cd examples/mmapgo && go vet ./... && go tool -modfile=../../go.mod staticcheck ./... && go test ./... &&
		go test -run '^$' -bench . -benchtime=1x -size=2MiB -dir="$log/data" -methods mmapgo,mmap -workloads read,parallel -patterns rand) >"$log/example" &&
		grep -q 'method=mmapgo.* syscalls/op' "$log/example" &&
		go run ./cmd/iopath table "$log/example" && go run ./cmd/iopath plot -out "$log/charts" "$log/example"
}

# A commit against itself, as CI measures a pull request: that it works, and counts the
# same. Two rounds judge no times, which CI takes for a warning.
regress() {
	CI=true RESULTS="$log/results" scripts/ci-regress.sh HEAD -rounds 2 -time 0 -benchtime 1x -settle 0 &&
		go run ./cmd/iopath history -h
}

touch "$log/skipped"
step gofmt formatted
step vet go vet ./...
step other-systems sh -c 'GOOS=darwin go vet ./... && GOOS=linux GOARCH=arm64 go vet ./...'
step staticcheck go tool staticcheck ./...
step actionlint go tool actionlint
if go tool govulncheck ./... >"$log/vuln" 2>&1; then
	echo "ok       govulncheck"
elif grep -qiE 'dial|lookup|connect|timeout|403|forbidden|proxy' "$log/vuln"; then
	skip govulncheck "its database cannot be reached"
else
	echo "FAILED   govulncheck"
	cat "$log/vuln"
	failed+=(govulncheck)
fi
step test go test -v ./...
if command -v cc >/dev/null; then
	# Short: what the cases of conformance find was found above. Children of ours need
	# not sleep for a second at their end, as the detector has them do.
	step race env CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 go test -race -short ./...
else
	skip "race detector" "cc is not installed"
fi
step cells cells
step example example
step regress regress
if command -v shellcheck >/dev/null; then
	step shellcheck shellcheck scripts/*.sh .ci/run
else
	skip shellcheck "shellcheck is not installed"
fi
if lacks=$(for tool in cc fio iperf3; do command -v "$tool" >/dev/null || echo "$tool"; done) && [ -z "$lacks" ]; then
	# One pair of some rows, on a small file: that it works, not how fast anything is.
	step crosscheck scripts/crosscheck.sh -n 1 -s 2MiB 'C .*, seq, 1MiB|fio .*, rand, 64KiB|iperf3'
else
	skip crosscheck "$(echo "$lacks" | paste -sd' ') is not installed"
fi
step README scripts/readme.sh

if [ -s "$log/skipped" ]; then
	echo
	echo "not tested here:"
	sort -u "$log/skipped"
fi
if [ ${#failed[@]} -gt 0 ]; then
	echo
	[ ! -e "$log/failures" ] || cut -c 1-2000 "$log/failures"
	echo "FAILED: ${failed[*]}"
	exit 1
fi
