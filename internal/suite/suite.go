// Package suite holds what the suite's charts and its advice must call alike: the
// methods that do not compete, and the words for workloads. It knows the keys and
// values of the names in results, and nothing of the workloads themselves.
//
// A value that it does not know stays as it is, so that results of another suite
// have words too.
package suite

import "slices"

// Aside are methods that do not compete, and why, in a word to a reader.
type Aside struct {
	Why     string
	Methods []string
}

// Asides are the methods that compete with none: what they move is not what the
// others move.
var Asides = []Aside{
	{"no file is read", []string{"memfd", "hugetlb"}},
	{"a device's memory", []string{"map+device", "map+devmem"}},
	{"moves nothing", []string{"null"}},
}

// NoContest returns the methods of Asides.
func NoContest() (methods []string) {
	for _, a := range Asides {
		methods = append(methods, a.Methods...)
	}
	return methods
}

// IsMoment reports whether the cells of a benchmark are moments of an experiment,
// iopath larger and iopath pressure, and no workloads.
func IsMoment(benchmark string) bool {
	return slices.Contains([]string{"Larger", "Pressure"}, benchmark)
}

// Section is the heading of a benchmark's charts and advice; those of a file that is
// read or sent have one for each state of the page cache.
func Section(benchmark, cache string) string {
	switch benchmark {
	case "Read":
		return "Reads of " + File(cache)
	case "Send":
		return "Sending " + File(cache)
	}
	return Word(map[string]string{
		"Write":    "Writing a file",
		"Receive":  "Receiving a file",
		"Relay":    "Relaying from socket to socket",
		"Copy":     "Copying a file",
		"Channel":  "Between two processes",
		"Map":      "Mapping itself",
		"Open":     "Small files, opened, read and closed",
		"Parallel": "Several workers",
	}, benchmark)
}

// Cache says in what state of the page cache a file is: "cached" where it is warm.
func Cache(state string) string {
	return Word(map[string]string{"warm": "cached", "cold": "uncached"}, state)
}

// File is a file in that state: "a cached file" where it is warm.
func File(state string) string {
	switch state {
	case "":
		return "a file"
	case "cold":
		return "an uncached file"
	}
	return "a " + Cache(state) + " file"
}

// Over says over which socket bytes go: "over TCP loopback".
func Over(transport string) string {
	return "over " + Word(map[string]string{
		"tcp": "TCP loopback", "unix": "a Unix socket", "veth": "TCP between network namespaces", "": "a socket",
	}, transport)
}

// Writing says in which order a file is written: "appending to a file".
func Writing(pattern string) string {
	return Word(map[string]string{
		"append": "appending to a file", "seq": "overwriting a file in order", "rand": "overwriting a file at random",
		"stride": "overwriting a file by strides", "reverse": "overwriting a file backwards", "zipf": "overwriting a file by Zipf's law",
		"": "writing a file",
	}, pattern)
}

// Policies are the values of /sync, the weakest first.
var Policies = []string{"none", "async", "range", "end", "dsync", "block"}

// Synced says when what is written is made durable: "synced at the end".
func Synced(policy string) string {
	return Word(map[string]string{
		"none": "not synced", "async": "with MS_ASYNC after each block", "range": "with sync_file_range",
		"end": "synced at the end", "dsync": "with O_DSYNC", "block": "synced after each block",
	}, policy)
}

// Word puts a value into plain words; one that it does not know stays as it is.
func Word(words map[string]string, value string) string {
	if w, ok := words[value]; ok {
		return w
	}
	return value
}
