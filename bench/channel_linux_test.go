package bench

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// realChannels are the methods that the wrong ones are made of.
var realChannels = []string{"pipe", "pipe+vmsplice", "ring.file", "ring.memfd", "tcp", "unix"}

// A wrongChannel is an end of a real one, with a job that is wrong at one end.
type wrongChannel struct {
	iomethod.Channel
	attached bool
	jobs     int    // that it has received
	last     []byte // that it has received
	send     func(w *wrongChannel, p *iomethod.Plan, produce iomethod.Producer) error
	receive  func(w *wrongChannel, p *iomethod.Plan, consume iomethod.Consumer) error
}

func (w *wrongChannel) Send(p *iomethod.Plan, produce iomethod.Producer) error {
	if w.send != nil && w.attached {
		return w.send(w, p, produce)
	}
	return w.Channel.Send(p, produce)
}

func (w *wrongChannel) Receive(p *iomethod.Plan, consume iomethod.Consumer) error {
	if w.receive != nil && w.attached {
		w.jobs++
		return w.receive(w, p, consume)
	}
	return w.Channel.Receive(p, consume)
}

// wrongs registers a method whose channel is a real one's, but for the wrong job.
func wrongs(name, doc, of string, calls []string, job wrongChannel) {
	role := func() iomethod.Role[iomethod.Channel] {
		m, _ := iomethod.Lookup(of)
		return m.Channel
	}
	iomethod.Register(iomethod.Method{Name: name, Doc: doc, Channel: iomethod.Role[iomethod.Channel]{
		Calls: calls,
		New: func(c iomethod.Config) (iomethod.Channel, error) {
			ch, err := role().New(c)
			if err != nil {
				return nil, err
			}
			w := job
			w.Channel, w.attached = ch, c.Files != nil
			return &w, nil
		},
	}})
}

func init() {
	wrongs("wrong.flips", "flips a bit of what comes in", "unix", []string{"write"}, wrongChannel{
		receive: func(w *wrongChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
			return w.Channel.Receive(p, func(off int64, b []byte) { b[len(b)/2] ^= 4; consume(off, b) })
		}})
	wrongs("wrong.echoes", "sends back what has come in, and asks nobody what to send", "unix", []string{"write"}, wrongChannel{
		receive: func(w *wrongChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
			return w.Channel.Receive(p, func(off int64, b []byte) { w.last = slices.Clone(b); consume(off, b) })
		},
		send: func(w *wrongChannel, p *iomethod.Plan, produce iomethod.Producer) error {
			return w.Channel.Send(p, func(int64, int) []byte { return w.last })
		}})
	wrongs("wrong.vmsplice", "declares vmsplice, and writes", "pipe", []string{"vmsplice"}, wrongChannel{})
	for _, name := range realChannels {
		wrongs("wrong.dies."+name, "is killed in the second job", name, nil, wrongChannel{
			receive: func(w *wrongChannel, p *iomethod.Plan, consume iomethod.Consumer) error {
				if w.jobs == 2 {
					unix.Kill(os.Getpid(), unix.SIGKILL)
				}
				return w.Channel.Receive(p, consume)
			}})
	}
}

// channelCell is one that any channel can have.
func channelCell(method, what string) Cell {
	return Cell{Benchmark: "Channel", What: what, Size: 8 << 20, Block: 64 << 10, Method: method}
}

func TestChannelCells(t *testing.T) {
	o := Options{Dir: disk(t), Size: 8 << 20}
	var cells []Cell
	for _, name := range realChannels {
		for _, what := range Exchanges {
			cells = append(cells, channelCell(name, what))
		}
	}
	source, _ := open(t, o).Counter()
	for i, line := range round(t, o, source == "tracepoint", cells...) {
		name := cells[i].Name()
		if strings.HasPrefix(line, "# skipped") && strings.HasPrefix(cells[i].Method, "ring.file") {
			t.Log(line)
			continue
		}
		if strings.HasPrefix(line, "# ") {
			t.Errorf("%s: got %s, want a result", name, line)
			continue
		}
		r := parsed(t, line)
		for _, unit := range []string{"sec/op", "B/s", "p50-sec", "peer-cpu-sec/op"} {
			if v, ok := r.Value(unit); !ok || v <= 0 {
				t.Errorf("%s: got %v %s (%v), want more than 0", name, v, unit, ok)
			}
		}
	}
}

// The traps: damage on either way, and another path.
func TestChannelTraps(t *testing.T) {
	o := Options{Dir: disk(t), Size: 8 << 20}
	source, _ := open(t, o).Counter()
	for _, c := range []struct {
		method, what, want string
		counted            bool
	}{
		{"wrong.flips", "stream", workloads.ErrVerification.Error(), false},
		{"wrong.flips", "roundtrip", workloads.ErrVerification.Error(), false},
		{"wrong.echoes", "roundtrip", workloads.ErrVerification.Error(), false},
		{"wrong.vmsplice", "stream", counters.ErrPath.Error(), true},
	} {
		if c.counted && source != "tracepoint" {
			continue
		}
		line := round(t, o, c.counted, channelCell(c.method, c.what))[0]
		if !strings.HasPrefix(line, "# failed: ") || !strings.Contains(line, c.want) {
			t.Errorf("%s, %s: got %s, want it failed with %q", c.method, c.what, line, c.want)
		}
	}
}

func TestChannelOtherEndDies(t *testing.T) {
	o := Options{Dir: disk(t), Size: 8 << 20}
	var cells []Cell
	for _, name := range realChannels {
		for _, what := range Exchanges {
			cells = append(cells, channelCell("wrong.dies."+name, what))
		}
	}
	for i, line := range round(t, o, false, cells...) {
		if !strings.HasPrefix(line, "# failed: ") || !strings.Contains(line, "signal: killed") {
			t.Errorf("%s: got %s, want it failed because the other end was killed", cells[i].Name(), line)
		}
	}
}

// A program that is not asked to be the other end is not.
func TestChannelChild(t *testing.T) {
	if started, err := channelChild(); started || err != nil {
		t.Errorf("channelChild() = %v, %v without %s, want false and no error", started, err, channelEnv)
	}
	t.Setenv(channelEnv, "{")
	if started, err := channelChild(); !started || err == nil {
		t.Errorf("channelChild() = %v, %v with %s={, want true and an error", started, err, channelEnv)
	}
	_, err := farEnd{Method: "carrier.pigeon"}.attach()
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("attach by an unknown method: got %v, want an error", err)
	}
}
