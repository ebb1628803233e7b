package claims

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"iopath/internal/host"
	"iopath/internal/verdict"
)

// This file has the claims that are about speed: what the suite's own cells measure, pair
// by pair of one round.

// rounds is how many rounds of each cell a claim rests on: an interval takes six.
const benchRounds = 7

const gib = 1 << 30

// measure has the cells measured.
func (l *Lab) measure(ctx context.Context, names ...string) (map[string]Series, error) {
	if l.Bench == nil {
		return nil, errNoBench
	}
	return l.Bench.Cells(ctx, benchRounds, names...)
}

// faster is how many times as long a takes as b, by a unit of cost.
func faster(cells map[string]Series, a, b, unit string) (verdict.Ratio, error) {
	r, ok := verdict.Paired(cells[a][unit], cells[b][unit], 0.95)
	if !ok {
		return r, unsupported("%s and %s have no round with %s in common", a, b, unit)
	}
	return r, nil
}

// once is the median of a cell's unit.
func once(s Series, unit string) (float64, bool) {
	v := slices.Sorted(slices.Values(s[unit]))
	if len(v) == 0 {
		return 0, false
	}
	return v[len(v)/2], true
}

// A said holds where the ratio of a claim is beyond doubt on one side of 1.
func said(f *Finding, r verdict.Ratio, holds, fails string) {
	switch {
	case r.Beyond() && r.Lo > 1:
		f.Verdict, f.Because = Holds, holds
	case r.Beyond():
		f.Verdict, f.Because = Fails, fails
	default:
		f.Verdict, f.Because = Depends, "no difference is shown here"
	}
}

func sendCell(block, method string) string {
	return "Send/transport=unix/cache=warm/size=16MiB/block=" + block + "/method=" + method
}

// crossings counts the system calls of sends, and the CPU time: in blocks, and of the file
// in one piece.
func crossings(ctx context.Context, l *Lab) (f Finding, err error) {
	methods := []string{"read+write", "mmap+write", "sendfile"}
	sizes := []string{"64KiB", "16MiB"}
	var names []string
	for _, block := range sizes {
		for _, m := range methods {
			names = append(names, sendCell(block, m))
		}
	}
	cells, err := l.measure(ctx, names...)
	if err != nil {
		return f, err
	}
	times := map[string]float64{}
	for _, block := range sizes {
		calls := map[string]float64{}
		for _, m := range methods {
			s := cells[sendCell(block, m)]
			n, ok := once(s, "syscalls/op")
			if !ok {
				return f, unsupported("system calls cannot be counted here (see iopath doctor)")
			}
			calls[m] = n
			f.see("system calls of 16MiB in blocks of "+block+" by "+m, n, "calls")
			if flt, ok := once(s, "minflt/op"); ok {
				f.see("page faults of that", flt, "faults")
			}
			if cpu, ok := once(s, "cpu-sec/op"); ok {
				f.see("sender's CPU time of that, for a GiB", cpu*gib/(16<<20), "s")
			}
		}
		times[block] = calls["mmap+write"] / calls["sendfile"]
	}
	switch blocks, whole := times["64KiB"], times["16MiB"]; {
	case blocks >= 1.9 && whole >= 1.9:
		f.Verdict, f.Because = Holds, "mmap and write make twice the calls of sendfile, and more"
	case whole >= 1.9:
		f.Verdict, f.Because = Depends, fmt.Sprintf("for a file in one piece it is %.0f calls (fstat for the length, mmap, write, munmap) against 1, each a crossing in and one out; in blocks of one mapping, each block is one call either way, and it is read and write that make two", whole)
	default:
		f.Verdict, f.Because = Fails, "they make no more calls than sendfile"
	}
	return f, nil
}

// copies compares the sender's CPU time, and looks whether what is on its way in a socket
// is a copy: the file is overwritten after the send and before the receive.
func copies(ctx context.Context, l *Lab) (f Finding, err error) {
	names := []string{sendCell("64KiB", "read+write"), sendCell("64KiB", "mmap+write"), sendCell("64KiB", "sendfile")}
	if l.Bench == nil {
		return f, errNoBench
	}
	cells, err := l.Bench.Cells(ctx, 2*benchRounds, names...) // differences are small
	if err != nil {
		return f, err
	}
	saved, err := faster(cells, names[0], names[1], "cpu-sec/op")
	if err != nil {
		return f, err
	}
	f.seeRatio("sender's CPU time: of read and write, over mmap and write", saved)
	left, err := faster(cells, names[1], names[2], "cpu-sec/op")
	if err != nil {
		return f, err
	}
	f.seeRatio("of mmap and write, over sendfile", left)
	later := map[string]bool{}
	for _, how := range []string{"write from the mapping", "sendfile"} {
		changed, err := l.overwritten(how)
		if err != nil {
			return f, err
		}
		later[how] = f.is("a store made after "+how+" and before the receive is received", changed)
	}
	switch {
	case later["write from the mapping"]:
		f.Verdict, f.Because = Holds, "the socket has the file's own pages"
	case saved.Beyond() && saved.Lo > 1:
		f.Verdict, f.Because = Depends, "the copy into a buffer is gone, and the CPU time with it; the one into the socket stays: the socket has the bytes as they were"
	case saved.Beyond():
		f.Verdict, f.Because = Fails, "read and write take less CPU time; and the socket has a copy all the same"
	default:
		f.Verdict, f.Because = Depends, "the socket has a copy all the same; that the other one is gone does not show in CPU time here"
	}
	if f.Verdict == Depends && later["sendfile"] {
		f.Because += "; only sendfile does without: what it sends is the file's page, which later stores still change"
	}
	return f, nil
}

// overwritten sends a page over a Unix socket, overwrites the file, and reports whether
// the receiver gets the new bytes.
func (l *Lab) overwritten(how string) (bool, error) {
	file, err := l.file(int64(page))
	if err != nil {
		return false, err
	}
	defer file.Close()
	m, err := mapFile(file, 0, page, readWrite, unix.MAP_SHARED)
	if err != nil {
		return false, err
	}
	defer m.unmap()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	n := 0
	if how == "sendfile" {
		offset := int64(0)
		n, err = unix.Sendfile(pair[0], int(file.Fd()), &offset, page)
	} else {
		n, err = unix.Write(pair[0], m.bytes())
	}
	if err != nil || n != page {
		return false, fmt.Errorf("%s: %d bytes of %d: %w", how, n, page, err)
	}
	for i := range m.bytes() {
		m.bytes()[i] = 'X'
	}
	got := make([]byte, page)
	for at := 0; at < page; at += n {
		if n, err = unix.Read(pair[1], got[at:]); err != nil || n == 0 {
			return false, fmt.Errorf("receive: %d bytes: %w", at, err)
		}
	}
	return bytes.Count(got, []byte("X")) == page, nil
}

// largeRandom compares cached reads in both orders, and asks for the crossover of small
// files.
func largeRandom(ctx context.Context, l *Lab) (f Finding, err error) {
	cell := func(pattern, method string) string {
		return "Read/pattern=" + pattern + "/cache=warm/size=512MiB/block=4KiB/method=" + method
	}
	if llc, ok := host.LLC(); ok {
		f.see("last-level cache; the file has 512MiB", float64(llc), "B")
	}
	cells, err := l.measure(ctx, cell("rand", "pread"), cell("rand", "mmap"), cell("seq", "pread"), cell("seq", "mmap"))
	if err != nil {
		return f, err
	}
	random, err := faster(cells, cell("rand", "pread"), cell("rand", "mmap"), "sec/op")
	if err != nil {
		return f, err
	}
	f.seeRatio("cached random reads of 4KiB: pread's time over mmap's", random)
	inOrder, err := faster(cells, cell("seq", "pread"), cell("seq", "mmap"), "sec/op")
	if err != nil {
		return f, err
	}
	f.seeRatio("cached reads of 4KiB in order: the same", inOrder)
	above, upTo, err := l.Bench.Crossover(ctx)
	if err != nil {
		return f, err
	}
	if above > 0 {
		f.see("opened, read whole and closed: mmap is slower up to", float64(above), "B")
	}
	if upTo > 0 {
		f.see("opened, read whole and closed: mmap is faster from", float64(upTo), "B")
	}
	said(&f, random, "cached and in blocks of 4KiB it does", "pread is faster here")
	if f.Verdict == Holds && inOrder.Beyond() && inOrder.Lo > 1 {
		f.Because += ", in order as well"
	}
	if upTo > 0 {
		f.Because += fmt.Sprintf("; a file that is opened, read once and closed must have %s for it", bytesText(upTo))
	}
	f.Because += "; what is not cached is another question (iopath bench, iopath larger)"
	return f, nil
}

// anonymous compares ways to have fresh memory.
func anonymous(ctx context.Context, l *Lab) (f Finding, err error) {
	cell := func(touch, method string) string {
		return "Map/touch=" + touch + "/size=16MiB/method=" + method
	}
	cells, err := l.measure(ctx, cell("write", "map+anon"), cell("write", "heap"))
	if err != nil {
		return f, err
	}
	r, err := faster(cells, cell("write", "heap"), cell("write", "map+anon"), "sec/op")
	if err != nil {
		return f, err
	}
	faults := map[string]float64{}
	f.seeRatio("getting 16MiB, storing to each page, and giving it back (the heap: to itself, by a collection): heap's time over mmap's", r)
	for _, method := range []string{"map+anon", "heap"} {
		for _, phase := range []string{"map", "touch", "unmap"} {
			if v, ok := once(cells[cell("write", method)], phase+"-sec"); ok {
				f.see(fmt.Sprintf("%s: %s", method, phase), v, "s")
			}
		}
		if v, ok := once(cells[cell("write", method)], "minflt/op"); ok {
			f.see(method+": page faults", v, "faults")
			faults[method] = v
		}
	}
	why := fmt.Sprintf("a job takes %.0f faults by mmap, and %.0f on the heap", faults["map+anon"], faults["heap"])
	said(&f, r, why+", which has a collection to pay", why+", which keeps memory that it had before")
	return f, nil
}

// ipc compares channels between two processes.
func ipc(ctx context.Context, l *Lab) (f Finding, err error) {
	cell := func(what, size, method string) string {
		return "Channel/what=" + what + "/size=" + size + "/block=4KiB/method=" + method
	}
	var names []string
	for _, method := range []string{"ring.memfd", "pipe", "unix"} {
		names = append(names, cell("stream", "16MiB", method), cell("roundtrip", "4MiB", method))
	}
	cells, err := l.measure(ctx, names...)
	if err != nil {
		return f, err
	}
	for _, method := range []string{"ring.memfd", "pipe", "unix"} {
		if n, ok := once(cells[cell("stream", "16MiB", method)], "syscalls/op"); ok {
			f.see("system calls of a stream of 16MiB in blocks of 4KiB, the sender's, by "+method, n, "calls")
		}
	}
	wins, loses := true, false
	for _, what := range []struct{ what, size, said string }{{"stream", "16MiB", "a stream in blocks of 4KiB"}, {"roundtrip", "4MiB", "1024 round trips of 4KiB"}} {
		for _, other := range []string{"pipe", "unix"} {
			r, err := faster(cells, cell(what.what, what.size, other), cell(what.what, what.size, "ring.memfd"), "sec/op")
			if err != nil {
				return f, err
			}
			f.seeRatio(fmt.Sprintf("%s: %s's time over shared memory's", what.said, other), r)
			wins = wins && r.Beyond() && r.Lo > 1
			loses = loses || r.Beyond() && r.Hi < 1
		}
	}
	switch {
	case wins:
		f.Verdict, f.Because = Holds, "both processes have the same pages, and a side that finds the other awake makes no call"
	case loses:
		f.Verdict, f.Because = Depends, "in some of these it is slower"
	default:
		f.Verdict, f.Because = Depends, "in some of these no difference is shown"
	}
	return f, nil
}

// pressure holds a file as a mapping and as a copy beside a hungry neighbour.
func pressure(ctx context.Context, l *Lab) (f Finding, err error) {
	if l.Bench == nil {
		return f, errNoBench
	}
	swap := true
	steps, err := l.Bench.Pressure(ctx, l.dir, swap)
	if errors.Is(err, errors.ErrUnsupported) {
		swap = false
		var without error
		if steps, without = l.Bench.Pressure(ctx, l.dir, swap); without != nil {
			return f, without
		}
	}
	if err != nil && swap {
		return f, err
	}
	last := map[string]Held{}
	for _, how := range []string{"mapping", "heap"} {
		for _, s := range steps {
			if s.How == how {
				last[how] = s
			}
		}
		s, found := last[how]
		if !found {
			return f, fmt.Errorf("nothing was held as a %s", how)
		}
		beside := fmt.Sprintf("%s of 64MiB beside %s of a neighbour, with 128MiB for both: ", how, bytesText(s.Neighbour))
		if s.Killed != "" {
			f.is(beside+"the kernel kills the "+s.Killed, true)
			continue
		}
		f.see(beside+"resident", float64(s.Resident), "B")
		f.see("the process that holds the "+how+": in swap", float64(s.Swapped), "B")
		f.see(how+": read from the device to have all of it again", float64(s.Device), "B")
	}
	m, h := last["mapping"], last["heap"]
	// What is in swap is counted for the whole process, which has some memory of its own.
	const own = HeldSize / 32
	dropped := m.Killed == "" && m.Resident <= HeldSize/2 && m.Swapped <= own
	switch {
	case m.Killed == "" && m.Resident > HeldSize/2:
		f.Verdict, f.Because = Depends, "the kernel left the mapping alone, and took from others"
	case m.Swapped > own:
		f.Verdict, f.Because = Fails, "the mapping was swapped"
	case dropped && h.Swapped > HeldSize/4:
		f.Verdict, f.Because = Holds, "the file is there to read the mapping's pages from again; a copy on the heap has nothing but swap behind it (iopath pressure has it step by step)"
	case dropped && !swap:
		f.Verdict, f.Because = Depends, "its pages are dropped; that they would not be swapped is not shown, since there is no swap here"
	case dropped:
		f.Verdict, f.Because = Depends, "its pages are dropped; the copy on the heap was not swapped either"
	default:
		f.Verdict, f.Because = Fails, "the kernel killed the "+m.Killed+" rather than drop the mapping's pages"
	}
	return f, nil
}
