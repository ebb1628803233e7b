#!/usr/bin/env bash
# Runs the commands of README.md as a reader would: every line of its ```sh
# blocks, in order, but for those that fetch the project or run this very test.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' README.md |
	grep -vE '^(git clone|cd iopath|make test|make bench|make harness|$|#)' >"$work/commands"

# make bench itself, made short. The other commands work on the run that is
# committed.
make bench ARGS="-rounds 1 -benchtime 1x -size 2MiB -dir $work/data -results $work/results -machine readme -run run"
while IFS= read -r line; do
	echo "+ $line"
	bash -euo pipefail -c "$line" </dev/null
done <"$work/commands"
