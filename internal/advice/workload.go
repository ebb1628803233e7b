package advice

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"iopath/internal/suite"
	"iopath/internal/summary"
	"iopath/internal/verdict"
)

// keys are those that the cells' names of a workload have in common.
type keys []summary.Pair

func keysOf(s verdict.Standing) keys { return s.Head }

func (k keys) get(key string) string {
	for _, p := range k {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

func (k keys) all() map[string]string {
	m := map[string]string{}
	for i, p := range k {
		if p.Key == "" {
			p.Key = strconv.Itoa(i) // a positional part
		}
		m[p.Key] = p.Value
	}
	return m
}

// implied are keys that follow from the others in most runs.
var implied = []string{"size", "files"}

// without leaves out the keys of those names.
func (k keys) without(names ...string) keys {
	return slices.DeleteFunc(slices.Clone(k), func(p summary.Pair) bool { return slices.Contains(names, p.Key) })
}

// A kind is how the workloads of one benchmark are called and judged.
type kind struct {
	order     int
	baselines []string // the first that a run has is what the best is compared with
	named     []string // the keys that the words tell
	workload  func(keys) string
	label     func(keys) string
	measures  func(keys) []measure
	notes     map[string]string // of methods, beside the common ones
}

// kindOf returns how the workloads of a benchmark are called and judged.
func kindOf(name string) kind {
	if i := slices.Index(kindOrder, name); i >= 0 {
		k := kinds[name]
		k.order = i
		return k
	}
	// Of another suite a workload is called by its name and keys.
	return kind{order: len(kindOrder), workload: fixed(cmp.Or(name, unnamed)), label: fixed(""), measures: ranked(byThroughput)}
}

// unnamed is a benchmark without a name.
const unnamed = "Benchmark"

// kindOrder is that of the charts.
var kindOrder = []string{"Read", "Send", "Write", "Receive", "Relay", "Copy", "Channel", "Map", "Open", "Parallel"}

var callsFirst = []string{"pread", "read"}

// kinds are those of the suite.
var kinds = map[string]kind{
	"Read": {
		baselines: callsFirst, named: []string{"pattern", "cache", "block"},
		workload: reads,
		label:    labels(pattern, block),
		measures: ranked(byThroughput),
		notes: map[string]string{
			"mmap+kept":   "the mapping is made once, and what that costs is in no job",
			"os.ReadFile": "it reads the whole file into new memory, whatever is wanted of it",
		},
	},
	"Send": {
		// On loopback zero-copy hands pages to the receiver, which then bounds
		// throughput; what it saves is the sender's CPU time.
		baselines: []string{"read+write"}, named: []string{"transport", "cache", "block"},
		workload: func(k keys) string { return "sending " + file(k) + " " + suite.Over(k.get("transport")) + inBlocks(k) },
		label:    labels(transport, block),
		measures: ranked(byThroughput, byCPU),
	},
	"Write": {
		baselines: []string{"pwrite", "write"}, named: []string{"pattern", "sync", "block"},
		workload: func(k keys) string { return suite.Writing(k.get("pattern")) + inBlocks(k) + synced(k) },
		label:    labels(pattern, block, policy),
		measures: ranked(byThroughput),
	},
	"Receive": {
		baselines: []string{"read+write"}, named: []string{"transport", "block"},
		workload: func(k keys) string { return "receiving a file " + suite.Over(k.get("transport")) + inBlocks(k) },
		label:    labels(transport, block),
		measures: ranked(byThroughput),
	},
	"Relay": {
		// Both peers share the CPUs with the relay, and may bound throughput.
		baselines: []string{"read+write"}, named: []string{"transport", "block"},
		workload: func(k keys) string { return "relaying " + suite.Over(k.get("transport")) + inBlocks(k) },
		label:    labels(transport, block),
		measures: ranked(byThroughput, byCPU),
	},
	"Copy": {
		baselines: []string{"read+write"}, named: []string{"cache", "block"},
		workload: func(k keys) string { return "copying " + file(k) + inBlocks(k) },
		label:    labels(cache, block),
		measures: ranked(byThroughput),
		notes: map[string]string{
			"reflink": "the files share their blocks, and a later write pays for the copy",
		},
	},
	"Channel": {
		baselines: []string{"pipe"}, named: []string{"what", "block"},
		workload: func(k keys) string {
			if k.get("what") == "roundtrip" {
				return block(k) + " to another process and back"
			}
			return "a stream to another process" + inBlocks(k)
		},
		label: labels(exchange, block),
		measures: func(k keys) []measure {
			if k.get("what") == "roundtrip" {
				return []measure{byTrip}
			}
			return []measure{byThroughput}
		},
		notes: map[string]string{
			"ring.memfd": "the program keeps the ring itself, and nothing can poll it",
			"ring.file":  "the program keeps the ring itself, and nothing can poll it",
		},
	},
	"Map": {
		baselines: []string{"map+shared"}, named: []string{"touch", "size"},
		workload: func(k keys) string {
			return spaced(k.get("size")) + " of memory, mapped, " + past(k.get("touch")) + " and unmapped"
		},
		label:    labels(touch, size),
		measures: ranked(byThroughput),
		notes: map[string]string{
			"heap":              "it is memory of no file, which Go has had before",
			"map+anon":          "it is memory of no file",
			"map+anon+hugepage": "it is memory of no file",
			"map+anon+populate": "it is memory of no file",
			"map+hugetlb":       "it is memory of no file, in pages that root has set aside",
			"map+memfd":         "it is memory of no file",
			"map+private":       "the file never changes",
		},
	},
	"Open": {
		baselines: callsFirst, named: []string{"size"},
		workload: func(k keys) string { return "files of " + size(k) + ", opened, read whole and closed" },
		label:    labels(size),
		measures: ranked(byThroughput),
	},
	"Parallel": {
		baselines: callsFirst, named: []string{"pattern", "cache", "block", "workers", "as"},
		workload: func(k keys) string { return reads(k) + " by " + workers(k) },
		label:    labels(pattern, cache, block, workers),
		measures: ranked(byThroughput),
	},
}

// untold are the keys that the words do not tell. Those of another suite are
// all of them.
func (k kind) untold(of keys) keys {
	if k.named == nil {
		return of
	}
	return of.without(append(slices.Clone(k.named), implied...)...)
}

// note is what to know of a method before taking it.
func (k kind) note(method string, of keys) string {
	if note := k.notes[method]; note != "" || k.named == nil {
		return note
	}
	onceEach := []string{"rand", "stride", "reverse"} // patterns that want every block, in no order to read ahead in
	direct := strings.Contains(method, "odirect")
	switch {
	case direct && of.get("sync") != "":
		return "it writes past the page cache: its bytes are at the device where those of the others may be in memory"
	case direct:
		return "it passes by the page cache: the next reader waits for the device too"
	case method == "io.Copy" || method == "net.http":
		return "it chooses its own block"
	case method == "bufio":
		return "it moves 64 KiB at a time"
	case strings.HasPrefix(method, "mmap") && method != "mmap+random" && of.get("cache") == "cold" && slices.Contains(onceEach, of.get("pattern")):
		return "every block is wanted in the end, so nothing that a fault reads ahead is wasted; where few are wanted, see sparse reads"
	case method == "preadv2+dontcache":
		return "what it brings into the page cache is dropped again"
	}
	return ""
}

func fixed(s string) func(keys) string { return func(keys) string { return s } }

func ranked(m ...measure) func(keys) []measure { return func(keys) []measure { return m } }

// labels joins words, and leaves out those that a name lacks.
func labels(parts ...func(keys) string) func(keys) string {
	return func(k keys) string {
		var found []string
		for _, part := range parts {
			if w := part(k); w != "" {
				found = append(found, w)
			}
		}
		return strings.Join(found, ", ")
	}
}

// spaced writes 4KiB as 4 KiB.
func spaced(size string) string {
	i := strings.IndexFunc(size, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if _, ok := summary.ParseNumber(size); !ok || i <= 0 {
		return size
	}
	return size[:i] + " " + size[i:]
}

func block(k keys) string { return spaced(k.get("block")) }
func size(k keys) string  { return spaced(k.get("size")) }
func touch(k keys) string { return past(k.get("touch")) }
func cache(k keys) string { return suite.Cache(k.get("cache")) }
func file(k keys) string  { return suite.File(k.get("cache")) }

func pattern(k keys) string {
	return suite.Word(map[string]string{
		"seq": "sequential", "rand": "random", "sparse": "sparse", "stride": "strided", "reverse": "backward", "zipf": "zipfian",
	}, k.get("pattern"))
}

func reads(k keys) string {
	words := slices.DeleteFunc([]string{pattern(k), block(k), "reads of " + file(k)}, func(s string) bool { return s == "" })
	return strings.Join(words, " ")
}

func transport(k keys) string {
	return suite.Word(map[string]string{"tcp": "TCP", "unix": "Unix", "veth": "TCP, veth"}, k.get("transport"))
}

func inBlocks(k keys) string {
	if b := block(k); b != "" {
		return " in blocks of " + b
	}
	return ""
}

func policy(k keys) string {
	return suite.Word(map[string]string{
		"none": "not synced", "async": "MS_ASYNC", "range": "sync_file_range", "end": "synced at end", "dsync": "O_DSYNC", "block": "each synced",
	}, k.get("sync"))
}

func synced(k keys) string {
	if k.get("sync") == "" {
		return ""
	}
	return ", " + suite.Synced(k.get("sync"))
}

func exchange(k keys) string {
	return suite.Word(map[string]string{"roundtrip": "there and back"}, k.get("what"))
}

func past(touch string) string {
	return suite.Word(map[string]string{"read": "read once", "write": "written once"}, touch)
}

func workers(k keys) string {
	n, as := k.get("workers"), k.get("as")
	if n == "1" {
		as = strings.TrimSuffix(as, "s")
	}
	return strings.TrimSpace(n + " " + as)
}
