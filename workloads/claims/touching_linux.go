package claims

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"iopath/internal/pagecache"
)

// This file has the claims on what mapping and touching cost.

// sameTime is within what counts as the same for a length that differs by a factor of
// 262144: munmap looks at a directory's entry for each 2 MiB, which takes nanoseconds.
const sameTime = 8

// length maps files of 4 KiB to 1 GiB.
func length(_ context.Context, l *Lab) (f Finding, err error) {
	const size = 64 << 20
	file, err := l.file(size)
	if err != nil {
		return f, err
	}
	defer file.Close()
	if err := cold(file); err != nil {
		return f, err
	}
	before, err := resident(file)
	if err != nil {
		return f, err
	}
	m, err := mapFile(file, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer func() {
		if m.addr != nil {
			m.unmap()
		}
	}()
	cached, err := resident(file)
	if err != nil {
		return f, err
	}
	rss, _, err := m.held()
	if err != nil {
		return f, err
	}
	f.see("page cache that mmap of a cold file of 64MiB adds", float64(cached-before), "B")
	f.see("resident memory of that mapping", float64(rss), "B")
	touch(m.bytes(), 1)
	touchedRSS, _, err := m.held()
	if err != nil {
		return f, err
	}
	f.see("resident memory of it when each page was touched", float64(touchedRSS), "B")
	if touchedRSS < size/2 {
		return f, fmt.Errorf("of 64MiB that were touched %d bytes are resident: a growth is not seen", touchedRSS)
	}
	if err := m.unmap(); err != nil {
		return f, err
	}
	m.addr = nil

	big, err := l.sparse(1 << 30)
	if err != nil {
		return f, err
	}
	defer big.Close()
	once := func(file *os.File, size, flags int) func() error {
		return func() error {
			m, err := mapFile(file, 0, size, unix.PROT_READ, flags)
			if err != nil {
				return err
			}
			return m.unmap()
		}
	}
	sizes := []int{4 << 10, 1 << 20, 64 << 20, 1 << 30}
	var do []func() error
	for _, size := range sizes {
		do = append(do, once(big, size, unix.MAP_SHARED))
	}
	took, err := medianTimes(501, do...)
	if err != nil {
		return f, err
	}
	for i, size := range sizes {
		f.see("mmap and munmap of "+bytesText(int64(size))+", untouched", took[i].Seconds(), "s")
	}
	ratio := float64(took[len(took)-1]) / float64(took[0])
	f.see("time of 1GiB over that of 4KiB", ratio, "ratio")
	populated, err := medianTimes(5, once(file, size, unix.MAP_SHARED|unix.MAP_POPULATE))
	if err != nil {
		return f, err
	}
	f.see("mmap and munmap of 64MiB in the page cache, with MAP_POPULATE", populated[0].Seconds(), "s")
	switch {
	case cached > before || rss > 0:
		f.Verdict, f.Because = Fails, "mmap alone brought something of a cold file into memory"
	case ratio > sameTime:
		f.Verdict, f.Because = Fails, fmt.Sprintf("1GiB takes %.1f times as long as 4KiB", ratio)
	default:
		f.Verdict, f.Because = Holds, fmt.Sprintf("1GiB takes %.1f times as long as 4KiB, of which it is 262144 times as much, and nothing of a cold file is read, as long as none of it is touched; MAP_POPULATE pays for all pages at once", ratio)
	}
	return f, nil
}

// bytesText writes a size in one unit.
func bytesText(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// The advice that the experiments compare.
var advices = []struct {
	name  string
	value int
}{{"by default", unix.MADV_NORMAL}, {"with MADV_RANDOM", unix.MADV_RANDOM}}

// someFaults are no matter among the tens of thousands of touches of second walks: the
// thread's own, such as that of its signal stack.
const someFaults = 16

// firstTouch counts the faults of two walks over a mapping, cold and warm, with the
// kernel's usual read-ahead and without.
func firstTouch(_ context.Context, l *Lab) (f Finding, err error) {
	const size = 64 << 20
	file, err := l.file(size)
	if err != nil {
		return f, err
	}
	defer file.Close()
	perFault := map[string]float64{}
	later := int64(0)
	for _, state := range []string{"cold", "warm"} {
		for _, advice := range advices {
			prepare := cold
			if state == "warm" {
				prepare = pagecache.Load
			}
			if err := prepare(file); err != nil {
				return f, err
			}
			m, err := mapFile(file, 0, size, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				return f, err
			}
			var first, second toll
			if err = m.advise(advice.value); err == nil {
				walk := func() error { touch(m.bytes(), 1); return nil }
				if first, err = paid(walk); err == nil {
					second, err = paid(walk)
				}
			}
			if unmapped := m.unmap(); err == nil {
				err = unmapped
			}
			if err != nil {
				return f, err
			}
			if first.faults == 0 {
				return f, fmt.Errorf("the first walk over a %s mapping took no fault: nothing was touched", state)
			}
			later += second.faults
			name := state + ", " + advice.name
			perFault[name] = float64(size/page) / float64(first.faults)
			f.see("faults of the first walk over 64MiB, "+name, float64(first.faults), "faults")
			f.see("pages that one of them maps", perFault[name], "pages")
			if state == "cold" {
				f.see("bytes that they read from the device", float64(first.device), "B")
			}
		}
	}
	f.see("faults of the four second walks", float64(later), "faults")
	around := fmt.Sprintf("a fault maps its neighbours too, %.0f pages warm and %.0f cold (%.0f with MADV_RANDOM)",
		perFault["warm, by default"], perFault["cold, by default"], perFault["cold, with MADV_RANDOM"])
	switch {
	case later > someFaults:
		f.Verdict, f.Because = Depends, "some pages were taken away between the two walks, and had to be faulted in again; "+around
	case perFault["warm, by default"] > 1.5 || perFault["cold, by default"] > 1.5:
		f.Verdict, f.Because = Depends, "later touches do not, but most first ones do not either: "+around
	default:
		f.Verdict, f.Because = Holds, "each page takes one fault, at its first touch"
	}
	return f, nil
}

// readAhead is the read-ahead of the device that has the file, in bytes.
func readAhead(file *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return kib << 10, err
}

// memory touches few pages of a cold file.
func memory(_ context.Context, l *Lab) (f Finding, err error) {
	const size, touches = 64 << 20, 16
	file, err := l.file(size)
	if err != nil {
		return f, err
	}
	defer file.Close()
	f.see("what is touched: one byte of each of 16 pages, all over 64MiB", float64(touches*page), "B")
	if ahead, err := readAhead(file); err == nil {
		f.see("the device's read-ahead", float64(ahead), "B")
	}
	var cached, mapped [2]int64
	for i, advice := range advices {
		if err := cold(file); err != nil {
			return f, err
		}
		before, err := resident(file)
		if err != nil {
			return f, err
		}
		m, err := mapFile(file, 0, size, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return f, err
		}
		if err = m.advise(advice.value); err == nil {
			touch(m.bytes(), size/page/touches)
			if mapped[i], _, err = m.held(); err == nil {
				cached[i], err = resident(file)
			}
		}
		if unmapped := m.unmap(); err == nil {
			err = unmapped
		}
		if err != nil {
			return f, err
		}
		cached[i] -= before
		f.see("page cache that this adds, "+advice.name, float64(cached[i]), "B")
		f.see("resident memory of the mapping, "+advice.name, float64(mapped[i]), "B")
		if mapped[i] < touches*int64(page) {
			return f, fmt.Errorf("16 pages were touched, and %d bytes are resident", mapped[i])
		}
	}
	const little = 2 * touches
	of := func(n int64) float64 { return float64(n) / float64(touches*page) }
	switch {
	case cached[0] <= little*int64(page) && mapped[0] <= little*int64(page):
		f.Verdict, f.Because = Holds, "hardly more is in memory than was touched"
	case cached[1] <= little*int64(page) && mapped[1] <= little*int64(page):
		f.Verdict, f.Because = Depends, fmt.Sprintf("read-ahead brings %.0f times as much into the page cache as was touched, and the mapping has %.0f times as much; with MADV_RANDOM it is %.1f times",
			of(cached[0]), of(mapped[0]), of(max(cached[1], mapped[1])))
	default:
		f.Verdict, f.Because = Fails, "far more is in memory than was touched, with MADV_RANDOM too"
	}
	return f, nil
}
