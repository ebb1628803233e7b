package suite

import (
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Section("Read", "warm"), "Reads of a cached file"},
		{Section("Send", "cold"), "Sending an uncached file"},
		{Section("Copy", "cold"), "Copying a file"},
		{Section("Sort", ""), "Sort"},
		{File(""), "a file"},
		{File("tepid"), "a tepid file"},
		{Over("unix"), "over a Unix socket"},
		{Over("carrier pigeon"), "over carrier pigeon"},
		{Over(""), "over a socket"},
		{Writing("append"), "appending to a file"},
		{Writing("new"), "new"},
		{Synced("end"), "synced at the end"},
		{Synced("never"), "never"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for _, policy := range Policies {
		if Synced(policy) == policy {
			t.Errorf("policy %q has no words", policy)
		}
	}
}

func TestWhoCompetes(t *testing.T) {
	left := NoContest()
	for method, want := range map[string]bool{"null": true, "memfd": true, "map+devmem": true, "pread": false, "map+memfd": false, "io.Copy": false} {
		if got := slices.Contains(left, method); got != want {
			t.Errorf("%s does not compete: %v, want %v", method, got, want)
		}
	}
	for benchmark, want := range map[string]bool{"Larger": true, "Pressure": true, "Read": false} {
		if got := IsMoment(benchmark); got != want {
			t.Errorf("IsMoment(%q) = %v, want %v", benchmark, got, want)
		}
	}
}
