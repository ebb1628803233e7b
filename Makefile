# Every target is a line over iopath (go run ./cmd/iopath COMMAND -h) or a script.
#
#   make bench                     measure, print the table, draw the charts
#   make test                      everything that proves the suite
#   make table [RUN=DIR]           the methods side by side, of the newest run or of DIR
#   make plots [RUN=DIR]           redraw the charts of the newest run or of DIR
#   make report [RUN=DIR]          write README.md and report.html of the newest run or of DIR
#   make advise [RUN=DIR]          which method for which workload, and why
#   make compare OLD=DIR NEW=DIR   two runs, by benchstat
#   make regress BASE=main         this work tree against a commit, in turn: is it slower?
#   make crash                     what survives a crash of the process, and of the machine
#   make claims                    what is said of mmap, each claim by an experiment
#   make doctor                    what this machine lets us measure
#   make methods                   the methods, and README's table of them
#   make crosscheck                iopath beside fio, loops in C and iperf3, at the same work
#   make clean                     remove the data files
#
# ARGS are handed on: make bench ARGS='-profile quick'

GO     ?= go
IOPATH := $(GO) run ./cmd/iopath
# The newest run, if any.
RUN    ?= $(patsubst %/bench.txt,%,$(firstword $(shell ls -t results/*/*/bench.txt 2>/dev/null)))

.PHONY: bench test table plots report advise compare regress crash claims doctor methods crosscheck clean

bench:
	$(IOPATH) bench $(ARGS)

test:
	scripts/test.sh

table:
	$(IOPATH) table $(ARGS) $(RUN)

plots:
	$(IOPATH) plot $(ARGS) $(RUN)

report:
	$(IOPATH) report $(ARGS) $(RUN)

advise:
	$(IOPATH) advise $(ARGS) $(RUN)

# Without -ignore, benchstat makes a table for each commit, kernel and so on, and
# compares nothing.
compare:
	@test -n "$(OLD)" -a -n "$(NEW)" || { echo "make compare: which runs? (make compare OLD=results/M/R1 NEW=results/M/R2)" >&2; exit 2; }
	$(GO) tool benchstat -ignore "$$(sed -n 's/^\([a-z][a-z0-9-]*\): .*/\1/p' $(OLD)/bench.txt $(NEW)/bench.txt | sort -u | paste -sd,)" \
		old=$(OLD)/bench.txt new=$(NEW)/bench.txt

# make itself ends with status 2; "Error N" before that is the verdict: 1 regression, 3
# inconclusive.
regress:
	@test -n "$(BASE)" || { echo "make regress: against what? (make regress BASE=main)" >&2; exit 2; }
	scripts/ci-regress.sh "$(BASE)" $(ARGS)

crash:
	$(IOPATH) crash $(ARGS)

claims:
	$(IOPATH) claims $(ARGS)

doctor:
	$(IOPATH) doctor $(ARGS)

methods:
	$(IOPATH) methods $(ARGS)
	$(GO) test ./cmd/iopath -run TestReadmeMethods -update

crosscheck:
	scripts/crosscheck.sh $(ARGS)

clean:
	rm -rf .iopath
