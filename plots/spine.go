package plots

import (
	"slices"
	"strings"

	"iopath/internal/suite"
)

// This file declares the suite's own charts.

// costs are the floors of a time per block: what a method cannot do without.
var costs = []Floor{
	{".name:Floor /what:syscall", "sec/op", "empty system call"},
	{".name:Floor /what:fault", "sec/op", "minor fault"},
	{".name:Floor /what:clock", "sec/op", "clock reading"},
}

// through is from the median to the slowest block, as far out as blocks are rare.
var through = []Quantile{
	{"p50-sec", "p50", 0.30}, {"p99-sec", "p99", 2}, {"p999-sec", "p99.9", 3}, {"max-sec", "max", 4},
}

// processCPU is what a reader of CPU times over sockets must know.
const processCPU = "Of Go's own API over sockets the CPU time is the whole process's."

// Spine returns the suite's own charts, by question.
func Spine() Drawings {
	var all Drawings
	for _, w := range winners() {
		all = append(all, w)
	}
	for _, c := range slices.Concat(filesOut(), writes(), moves(), exchanges(), mappings(), small()) {
		c.Lead, c.Usual = c.Unit == "B/s", true
		all = append(all, c)
	}
	for _, b := range cpuBars() {
		all = append(all, b)
	}
	for _, v := range coldAgainstWarm() {
		all = append(all, v)
	}
	for _, c := range scaling() {
		all = append(all, c)
	}
	for _, c := range goTax() {
		c.Usual = true
		all = append(all, c)
	}
	return append(all, Larger(), Pressure())
}

// filesOut are the charts of reads and sends, each against block size and one for
// each cache state: throughput below its ceiling, time per block above its floors
// (of reads, as a send's median is mostly its socket's buffer), the tail of that
// time and its distribution, the sender's CPU time, and system calls and page faults
// per GiB.
func filesOut() (charts []Chart) {
	for _, w := range []struct{ name, filter, cache, what string }{
		{"read-seq-warm", ".name:Read /pattern:seq", "warm", "sequential reads of a cached file"},
		{"read-rand-warm", ".name:Read /pattern:rand", "warm", "random reads of a cached file"},
		{"read-sparse-warm", ".name:Read /pattern:sparse", "warm", "sparse reads of a cached file"},
		{"read-stride-warm", ".name:Read /pattern:stride", "warm", "strided reads of a cached file"},
		{"read-reverse-warm", ".name:Read /pattern:reverse", "warm", "backward reads of a cached file"},
		{"read-zipf-warm", ".name:Read /pattern:zipf", "warm", "zipfian reads of a cached file"},
		{"read-seq-cold", ".name:Read /pattern:seq", "cold", "sequential reads of an uncached file"},
		{"read-rand-cold", ".name:Read /pattern:rand", "cold", "random reads of an uncached file"},
		{"read-sparse-cold", ".name:Read /pattern:sparse", "cold", "sparse reads of an uncached file"},
		{"read-stride-cold", ".name:Read /pattern:stride", "cold", "strided reads of an uncached file"},
		{"read-reverse-cold", ".name:Read /pattern:reverse", "cold", "backward reads of an uncached file"},
		{"read-zipf-cold", ".name:Read /pattern:zipf", "cold", "zipfian reads of an uncached file"},
		{"send-tcp-warm", ".name:Send /transport:tcp", "warm", "sending a cached file over TCP loopback"},
		{"send-veth-warm", ".name:Send /transport:veth", "warm", "sending a cached file over TCP between network namespaces"},
		{"send-unix-warm", ".name:Send /transport:unix", "warm", "sending a cached file over a Unix socket"},
		{"send-tcp-cold", ".name:Send /transport:tcp", "cold", "sending an uncached file over TCP loopback"},
		{"send-unix-cold", ".name:Send /transport:unix", "cold", "sending an uncached file over a Unix socket"},
	} {
		kind, path, _ := strings.Cut(w.name, "-")
		path, _, _ = strings.Cut(path, "-")
		section := suite.Section(map[string]string{"read": "Read", "send": "Send"}[kind], w.cache)
		of := Chart{Filter: w.filter + " /cache:" + w.cache, X: "/block", Series: "/method", Headline: Headline{Section: section}}

		c := of
		c.Name, c.Title, c.Unit = w.name+"-throughput", "How fast is each method at "+w.what+"?", "B/s"
		switch {
		case w.cache == "cold":
			// A device knows sequential and random alone.
			pattern := "rand"
			if kind == "send" || path == "seq" {
				pattern = "seq"
			}
			c.Ceiling, c.CeilingLabel = ".name:Device /pattern:"+pattern, "device"
			c.CeilingBy = []string{"/gomaxprocs"}
			c.CeilingFlat = pattern == "seq" // readahead makes its own blocks
		case kind == "send":
			c.Ceiling, c.CeilingLabel = ".name:Ceiling /transport:"+path, "socket"
			c.CeilingBy = []string{"/consume", "/gomaxprocs"}
		default:
			c.Ceiling, c.CeilingLabel = ".name:Ceiling /pattern:"+path, "memory"
			c.CeilingBy = []string{"/consume", "/size", "/gomaxprocs"}
		}
		charts = append(charts, c)

		if kind == "send" {
			c := of
			c.Name, c.Title, c.Unit = w.name+"-cpu", "How much CPU time does the sender take for "+w.what+"?", "cpu-sec/GiB"
			c.Y, c.Note = "CPU time per GiB", processCPU
			charts = append(charts, c)
		} else {
			c := of
			c.Name, c.Title, c.Unit = w.name+"-latency", "How long does a block take in "+w.what+"?", "p50-sec"
			c.Y, c.Log, c.Floors = "time per block, p50", true, costs
			charts = append(charts, c)
		}
		c = of
		c.Name, c.Title, c.Unit = w.name+"-tail", "How long does the slowest block in a hundred take in "+w.what+"?", "p99-sec"
		c.Y, c.Log = "time per block, p99", true
		charts = append(charts, c)
		c = of
		block := usualBlock
		if strings.HasPrefix(w.name, "read-") && path != "seq" && path != "reverse" {
			block = "4KiB" // of random reads the blocks are small
		}
		c = of
		c.Filter += " /block:" + block
		c.Name, c.Title, c.Across = w.name+"-distribution", "How do the times of blocks spread in "+w.what+" ("+sizeLabel(block)+" each)?", through
		c.Y, c.Log = "time per block", true
		charts = append(charts, c)
		c = of
		c.Name, c.Title, c.Unit, c.Log = w.name+"-syscalls", "How many system calls for "+w.what+"?", "syscalls/GiB", true
		charts = append(charts, c)
		c = of
		c.Name, c.Title, c.Unit, c.Log = w.name+"-faults", "How many minor page faults for "+w.what+"?", "minflt/GiB", true
		c.Y = "minor faults per GiB"
		charts = append(charts, c)
		if w.cache == "cold" {
			c.Name, c.Title, c.Unit = w.name+"-majflt", "How many page faults wait for the device in "+w.what+"?", "majflt/GiB"
			c.Y = "major faults per GiB"
			charts = append(charts, c)
		}
	}
	return charts
}

// usualBlock is the block of the charts that have another x axis, and of those that
// rank methods.
const usualBlock = "64KiB"

// writes are the charts of a Write: throughput against block size for each order and
// policy, and against the policy.
func writes() (charts []Chart) {
	section := suite.Section("Write", "")
	for _, pattern := range []string{"append", "seq", "rand", "stride", "reverse", "zipf"} {
		what := suite.Writing(pattern)
		charts = append(charts, Chart{
			Headline: Headline{Name: "write-" + pattern + "-durability", Title: "What does it cost to make durable what is written by " + what + "?", Section: section},
			Filter:   ".name:Write /pattern:" + pattern + " /block:" + usualBlock, X: "/sync", Order: suite.Policies, Series: "/method",
			Unit: "B/s", Log: true,
		})
		for _, sync := range suite.Policies {
			c := Chart{
				Filter: ".name:Write /pattern:" + pattern + " /sync:" + sync, X: "/block", Series: "/method", Headline: Headline{Section: section},
			}
			throughput, calls := c, c
			throughput.Name, throughput.Unit = "write-"+pattern+"-"+sync+"-throughput", "B/s"
			throughput.Title = "How fast is each method at " + what + ", " + suite.Synced(sync) + "?"
			calls.Name, calls.Unit, calls.Log = "write-"+pattern+"-"+sync+"-syscalls", "syscalls/GiB", true
			calls.Title = "How many system calls for " + what + ", " + suite.Synced(sync) + "?"
			faults, times := c, c
			faults.Name, faults.Unit, faults.Log, faults.Y = "write-"+pattern+"-"+sync+"-faults", "minflt/GiB", true, "minor faults per GiB"
			faults.Title = "How many minor page faults for " + what + ", " + suite.Synced(sync) + "?"
			times.Name, times.Across, times.Log, times.Y = "write-"+pattern+"-"+sync+"-distribution", through, true, "time per block"
			times.Filter += " /block:" + usualBlock
			times.Title = "How do the times of blocks spread in " + what + ", " + suite.Synced(sync) + " (" + sizeLabel(usualBlock) + " each)?"
			charts = append(charts, throughput, calls, faults, times)
		}
	}
	return charts
}

// moves are the charts of what is received, relayed and copied: throughput, CPU time
// and system calls against block size.
func moves() (charts []Chart) {
	for _, w := range []struct{ name, filter, what, section string }{
		{"receive-tcp", ".name:Receive /transport:tcp", "receiving a file over TCP loopback", suite.Section("Receive", "")},
		{"receive-unix", ".name:Receive /transport:unix", "receiving a file over a Unix socket", suite.Section("Receive", "")},
		{"receive-veth", ".name:Receive /transport:veth", "receiving a file over TCP between network namespaces", suite.Section("Receive", "")},
		{"relay-tcp", ".name:Relay /transport:tcp", "relaying over TCP loopback", suite.Section("Relay", "")},
		{"relay-unix", ".name:Relay /transport:unix", "relaying over Unix sockets", suite.Section("Relay", "")},
		{"relay-veth", ".name:Relay /transport:veth", "relaying over TCP between network namespaces", suite.Section("Relay", "")},
		{"copy-warm", ".name:Copy /cache:warm", "copying a cached file", suite.Section("Copy", "")},
		{"copy-cold", ".name:Copy /cache:cold", "copying an uncached file", suite.Section("Copy", "")},
	} {
		c := Chart{Filter: w.filter, X: "/block", Series: "/method", Headline: Headline{Section: w.section}}
		throughput, cpu, calls := c, c, c
		throughput.Name, throughput.Title, throughput.Unit = w.name+"-throughput", "How fast is each method at "+w.what+"?", "B/s"
		cpu.Name, cpu.Title, cpu.Unit = w.name+"-cpu", "How much CPU time does "+w.what+" take?", "cpu-sec/GiB"
		cpu.Y = "CPU time per GiB"
		if !strings.HasPrefix(w.name, "copy") {
			cpu.Note = processCPU
		}
		calls.Name, calls.Title, calls.Unit, calls.Log = w.name+"-syscalls", "How many system calls for "+w.what+"?", "syscalls/GiB", true
		faults := c
		faults.Name, faults.Title, faults.Unit, faults.Log = w.name+"-faults", "How many minor page faults for "+w.what+"?", "minflt/GiB", true
		faults.Y = "minor faults per GiB"
		charts = append(charts, throughput, cpu, calls, faults)
	}
	return charts
}

// exchanges are the charts of a Channel.
func exchanges() []Chart {
	c := Chart{X: "/block", Series: "/method", Headline: Headline{Section: suite.Section("Channel", "")}}
	stream, calls, trip, tail := c, c, c, c
	stream.Filter, calls.Filter = ".name:Channel /what:stream", ".name:Channel /what:stream"
	trip.Filter, tail.Filter = ".name:Channel /what:roundtrip", ".name:Channel /what:roundtrip"
	stream.Name, stream.Title, stream.Unit = "channel-stream-throughput", "How fast is each channel between two processes?", "B/s"
	calls.Name, calls.Title, calls.Unit, calls.Log = "channel-stream-syscalls", "How many system calls does a channel take?", "syscalls/GiB", true
	trip.Name, trip.Title, trip.Unit, trip.Log = "channel-roundtrip-latency", "How long does a block take there and back?", "p50-sec", true
	tail.Name, tail.Title, tail.Unit, tail.Log = "channel-roundtrip-tail", "How long does the slowest block in a hundred take there and back?", "p99-sec", true
	trip.Y, tail.Y = "round trip, p50", "round trip, p99"
	spread := trip
	spread.Name, spread.Title, spread.Y = "channel-roundtrip-distribution", "How do the times of round trips spread ("+sizeLabel(usualBlock)+" each)?", "round trip"
	spread.Filter, spread.Across = trip.Filter+" /block:"+usualBlock, through
	return []Chart{stream, calls, trip, tail, spread}
}

// mappings are the charts of a Map: its three phases, against the size mapped.
func mappings() (charts []Chart) {
	for _, touch := range []string{"read", "write"} {
		c := Chart{
			Filter: ".name:Map /touch:" + touch, X: "/size", Series: "/method", Log: true, Headline: Headline{Section: suite.Section("Map", "")},
		}
		whole := c
		whole.Name, whole.Title = "map-"+touch+"-throughput", "How fast can memory be mapped, first "+map[string]string{"read": "read", "write": "written"}[touch]+", and unmapped?"
		whole.Unit, whole.Log = "B/s", false
		charts = append(charts, whole)
		for _, phase := range []struct{ unit, what string }{
			{"map-sec", "to map it"}, {"touch-sec", "to " + touch + " all its pages for the first time"}, {"unmap-sec", "to unmap it"},
		} {
			c.Name = "map-" + touch + "-" + strings.TrimSuffix(phase.unit, "-sec")
			c.Title, c.Unit = "How long does it take "+phase.what+"?", phase.unit
			charts = append(charts, c)
		}
	}
	return charts
}

// small are the charts of an Open: many small files.
func small() []Chart {
	c := Chart{Filter: ".name:Open", X: "/size", Series: "/method", Headline: Headline{Section: suite.Section("Open", "")}}
	throughput, calls := c, c
	throughput.Name, throughput.Title, throughput.Unit = "open-throughput", "How fast are small files opened, read and closed?", "B/s"
	calls.Name, calls.Title, calls.Unit, calls.Log = "open-syscalls", "How many system calls for small files?", "syscalls/GiB", true
	crossover := c
	crossover.Name, crossover.Title, crossover.Unit = "open-crossover", "At which size does it begin to pay to map a file?", "B/s"
	crossover.Y = "throughput, mmap ÷ read"
	crossover.Ratio = &Ratio{Key: "/method", Of: [][2]string{{"mmap", "read"}, {"mmap", "pread"}}, One: "1: as fast"}
	return []Chart{crossover, throughput, calls}
}

// several are the workloads of a Parallel.
var several = []struct{ name, filter, what string }{
	{"parallel-rand-warm", "/pattern:rand /cache:warm", "random reads of a cached file"},
	{"parallel-rand-cold", "/pattern:rand /cache:cold", "random reads of an uncached file"},
	{"parallel-seq-warm", "/pattern:seq /cache:warm", "sequential reads of a cached file"},
	{"parallel-seq-cold", "/pattern:seq /cache:cold", "sequential reads of an uncached file"},
}

// scaling are the charts of a Parallel, against the number of workers: throughput,
// and beneath it what may hold it down.
func scaling() (stacks []Stack) {
	for _, w := range several {
		stacks = append(stacks, Stack{
			Headline: Headline{
				Name: w.name + "-scaling", Title: "What do more workers gain at " + w.what + "?",
				Section: suite.Section("Parallel", ""), Lead: true,
			},
			Filter: ".name:Parallel " + w.filter, X: "/workers", XLabel: "workers", Series: "/method",
			Panels: []Panel{
				{Unit: "B/s", Label: "throughput"},
				{Unit: "tlb-shootdowns/GiB", Label: "TLB shootdowns per GiB"},
				{Unit: "minflt/GiB", Label: "minor faults per GiB"},
				{Unit: "cpu-sec/GiB", Label: "CPU time per GiB"},
				{Unit: "ctxsw/GiB", Label: "context switches per GiB"},
			},
		})
	}
	return stacks
}

// twins are Go's own APIs, each with the raw call that makes the same move.
var twins = map[string][][2]string{
	"Read":    {{"os.File", "read"}, {"bufio", "read"}, {"ReadAt", "pread"}, {"os.ReadFile", "read"}, {"exp.mmap", "mmap"}},
	"Write":   {{"os.File", "write"}, {"bufio", "write"}},
	"Send":    {{"io.Copy", "sendfile"}, {"net.http", "sendfile"}, {"io.CopyBuffer", "read+write"}},
	"Receive": {{"io.Copy", "splice"}},
	"Relay":   {{"io.Copy", "splice"}},
	"Copy":    {{"io.Copy", "copy_file_range"}},
	"Map":     {{"heap", "map+anon"}},
}

// goTax are the charts of what Go's own APIs cost beside the raw calls: in time; over
// sockets, whose other side sets the time, in CPU time.
func goTax() (charts []Chart) {
	const sockets = processCPU + " io.Copy and net.http choose blocks themselves."
	for _, w := range []struct{ name, kind, filter, title, x, unit, note string }{
		{"read-seq-warm", "Read", "/pattern:seq /cache:warm", "What does Go's own API add to sequential reads of a cached file?", "/block", "sec/op", ""},
		{"read-rand-warm", "Read", "/pattern:rand /cache:warm", "What does Go's own API add to random reads of a cached file?", "/block", "sec/op", ""},
		{"read-seq-cold", "Read", "/pattern:seq /cache:cold", "What does Go's own API add to sequential reads of an uncached file?", "/block", "sec/op", ""},
		{"read-rand-cold", "Read", "/pattern:rand /cache:cold", "What does Go's own API add to random reads of an uncached file?", "/block", "sec/op", ""},
		{"write-append", "Write", "/pattern:append /sync:none", "What does Go's own API add to appending to a file?", "/block", "sec/op", ""},
		{"send-tcp-warm", "Send", "/transport:tcp /cache:warm /block:1MiB", "What does Go's own API add to sending a cached file over TCP loopback?", "/block", "cpu-sec/op", sockets},
		{"send-unix-warm", "Send", "/transport:unix /cache:warm /block:1MiB", "What does Go's own API add to sending a cached file over a Unix socket?", "/block", "cpu-sec/op", sockets},
		{"receive-tcp", "Receive", "/transport:tcp /block:1MiB", "What does Go's own API add to receiving a file over TCP loopback?", "/block", "cpu-sec/op", sockets},
		{"relay-tcp", "Relay", "/transport:tcp /block:1MiB", "What does Go's own API add to relaying over TCP loopback?", "/block", "cpu-sec/op", sockets},
		{"copy-warm", "Copy", "/cache:warm /block:1MiB", "What does Go's own API add to copying a cached file?", "/block", "sec/op", "io.Copy chooses the blocks itself."},
		{"map-write", "Map", "/touch:write", "What does Go's heap cost beside anonymous mappings?", "/size", "sec/op", "The heap reuses memory that it has had before; a mapping is new each time."},
	} {
		measure := "time"
		if w.unit == "cpu-sec/op" {
			measure = "CPU time"
		}
		charts = append(charts, Chart{
			Headline: Headline{
				Name: w.name + "-go-tax", Title: w.title, Section: "The Go tax", Lead: true,
			},
			Filter: ".name:" + w.kind + " " + w.filter, X: w.x, Series: "/method", Unit: w.unit,
			Y: measure + ", Go's API ÷ the raw call", Note: w.note,
			Ratio: &Ratio{Key: "/method", Of: twins[w.kind], One: "1: no more than the raw call"},
		})
	}
	return charts
}
