package host

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNoise(t *testing.T) {
	const (
		psi0 = `
			proc/pressure/cpu: some avg10=0.57 avg60=0.42 avg300=1.77 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7
			proc/pressure/io: some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0
			proc/pressure/memory: some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5`
		psi1 = `
			proc/pressure/cpu: some avg10=0.57 avg60=0.42 avg300=1.77 total=1042000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7
			proc/pressure/io: some avg10=0.00 avg60=0.00 avg300=0.00 total=280000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9
			proc/pressure/memory: some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5`
		stat0 = `
			proc/stat: cpu  100 0 100 700 50 0 40 10 30 0\ncpu0 100 0 100 700 50 0 40 10 30 0`
		// 400 ticks more, 3 of them stolen; the guest's 60 are among the user's 100.
		stat1 = `
			proc/stat: cpu  200 0 100 997 50 0 40 13 90 0\ncpu0 200 0 100 997 50 0 40 13 90 0`
	)
	for _, test := range []struct{ name, from, to, want string }{
		{"all", stat0 + psi0, stat1 + psi1, "steal=0.8% psi-cpu=2.1% psi-io=14% psi-memory=0.0%"},
		{"kernel without pressure", stat0, stat1, "steal=0.8%"},
		{"no /proc/stat", psi0, psi1, "psi-cpu=2.1% psi-io=14% psi-memory=0.0%"},
		{"nothing happened", stat0 + psi0, stat0 + psi0, "psi-cpu=0.0% psi-io=0.0% psi-memory=0.0%"},
		{"moved to another host", stat1 + psi1, stat0 + psi0, "psi-memory=0.0%"},
		{"kernel of old, without steal", "proc/stat: cpu 1 2 3 4", "proc/stat: cpu 1 2 3 9", "none: unsupported"},
		{"pressure turned off", "proc/pressure/cpu: -", "proc/pressure/cpu: -", "none: unsupported"},
		{"nothing", "", "", "none: unsupported"},
	} {
		now := time.Now()
		from := system{root: tree(test.from)}.noise(now)
		to := system{root: tree(test.to)}.noise(now.Add(2 * time.Second))
		if got := from.Until(to).String(); got != test.want {
			t.Errorf("%s: noise = %q, want %q", test.name, got, test.want)
		}
	}
}

func TestNoiseShare(t *testing.T) {
	n := Noise{{"steal", 0.25}, {"psi-io", 0}}
	for _, test := range []struct {
		name  string
		want  float64
		known bool
	}{{"steal", 0.25, true}, {"psi-io", 0, true}, {"psi-cpu", 0, false}} {
		if got, known := n.Share(test.name); got != test.want || known != test.known {
			t.Errorf("Share(%s) = %v, %v, want %v, %v", test.name, got, known, test.want, test.known)
		}
	}
	if got, want := (Noise{{"a", 0.0994}, {"b", 0.0996}, {"c", 1}}).String(), "a=9.9% b=10% c=100%"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

// TestNoiseOfThisMachine checks what must hold on any machine.
func TestNoiseOfThisMachine(t *testing.T) {
	before := ReadNoise()
	time.Sleep(50 * time.Millisecond)
	n := before.Until(ReadNoise())
	t.Log(n)
	if _, known := n.Share("steal"); known != (runtime.GOOS == "linux") {
		t.Errorf("steal known: %v, want it on Linux alone", known)
	}
	for _, s := range n {
		if !(s.Value >= 0 && s.Value <= 1) {
			t.Errorf("%s = %v, want a share", s.Name, s.Value)
		}
	}
}

func FuzzNoise(f *testing.F) {
	f.Add("cpu  100 0 100 700 50 0 40 10 30 0", "cpu  100 0 100 700 60 0 40 12 30 0", "some avg10=0.57 total=1", "some avg10=0.57 total=2")
	f.Fuzz(func(t *testing.T, stat0, stat1, psi0, psi1 string) {
		now := time.Now()
		at := func(stat, psi string, at time.Time) NoiseTotals {
			escape := strings.NewReplacer("\n", `\n`).Replace
			return system{root: tree("proc/stat: " + escape(stat) + "\nproc/pressure/io: " + escape(psi))}.noise(at)
		}
		n := at(stat0, psi0, now).Until(at(stat1, psi1, now.Add(time.Second)))
		if slices.ContainsFunc(n, func(s Share) bool { return math.IsNaN(s.Value) || s.Value < 0 || s.Value > 1 }) {
			t.Errorf("noise = %v, want shares", n)
		}
	})
}
