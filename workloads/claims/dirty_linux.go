package claims

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file has the claims on dirty pages and when they reach the disk.

// kernelTime reads a setting of the kernel in hundredths of a second.
func kernelTime(name string) (time.Duration, error) {
	text, err := os.ReadFile("/proc/sys/vm/" + name)
	if err != nil {
		return 0, unsupported("read the kernel's setting: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return time.Duration(n) * 10 * time.Millisecond, err
}

// writeback stores to a mapping and waits until its pages are clean.
func writeback(ctx context.Context, l *Lab) (f Finding, err error) {
	const size = 4 << 20
	expire, err := kernelTime("dirty_expire_centisecs")
	if err != nil {
		return f, err
	}
	wake, err := kernelTime("dirty_writeback_centisecs")
	if err != nil {
		return f, err
	}
	if wake == 0 || expire > 2*time.Minute {
		return f, unsupported("the kernel is set to write dirty pages after %v, looking each %v: that is not waited for", expire, wake)
	}
	file, err := l.file(size)
	if err != nil {
		return f, err
	}
	defer file.Close()
	m, err := mapFile(file, 0, size, readWrite, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	b := m.bytes()
	for i := 0; i < len(b); i += page {
		b[i]++
	}
	began := time.Now()
	first, err := unwritten(file)
	if err != nil {
		return f, err
	}
	if first == 0 {
		return f, unsupported("no page is dirty after a store to each: the filesystem does not keep any (is it tmpfs?)")
	}
	limit := expire + 2*wake + 10*time.Second
	left, halved := first, time.Duration(0)
	for left > 0 && time.Since(began) < limit {
		select {
		case <-ctx.Done():
			return f, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
		if left, err = unwritten(file); err != nil {
			return f, err
		}
		if halved == 0 && left <= first/2 {
			halved = time.Since(began)
		}
	}
	all := time.Since(began)
	f.see("pages dirty or being written right after a store to each", float64(first), "pages")
	f.see("dirty_expire_centisecs: pages older than that are written", expire.Seconds(), "s")
	f.see("dirty_writeback_centisecs: how often the kernel looks", wake.Seconds(), "s")
	if left > 0 {
		f.see("pages left unwritten at last", float64(left), "pages")
		f.Verdict, f.Because = Fails, fmt.Sprintf("after %v there are still %d pages that were not written", limit, left)
		return f, nil
	}
	f.see("time until half of them were written", halved.Seconds(), "s")
	f.see("time until all were", all.Seconds(), "s")
	switch stored, err := l.direct(file); {
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP):
		f.untried("the device has the stored bytes, by O_DIRECT", "this filesystem has no O_DIRECT")
	case err != nil:
		return f, err
	case !f.is("the device has the stored bytes, by O_DIRECT", stored == b[0]):
		return f, errors.New("pages count as written, and the device has other bytes")
	}
	if halved < expire*9/10 {
		f.Verdict, f.Because = Depends, "they were written sooner than dirty_expire says: another process synced, or too much was dirty, which is not told apart here; until they are, a power cut takes them"
		return f, nil
	}
	f.Verdict, f.Because = Holds, fmt.Sprintf("the kernel wrote them after %.0f s: when they were older than dirty_expire, which it looks for each dirty_writeback; until then a power cut takes them", halved.Seconds())
	return f, nil
}

// unwritten counts the file's pages that are dirty or under writeback.
func unwritten(file *os.File) (int64, error) {
	st, err := file.Stat()
	if err != nil {
		return 0, err
	}
	var cs unix.Cachestat_t
	err = unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{Len: uint64(st.Size())}, &cs, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, unsupported("dirty pages cannot be counted without cachestat(2) (Linux 6.5): %w", err)
	}
	return int64(cs.Dirty + cs.Writeback), os.NewSyscallError("cachestat", err)
}

// direct reads the file's first byte past the page cache.
func (l *Lab) direct(file *os.File) (byte, error) {
	past, err := os.OpenFile(file.Name(), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer past.Close()
	m, err := mapFile(nil, 0, page, readWrite, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, err
	}
	defer m.unmap()
	_, err = past.ReadAt(m.bytes(), 0)
	return m.bytes()[0], err
}

// manualSync holds three meanings of syncing apart: that readers see stores, that stores
// survive their process, and that they survive the machine.
func manualSync(ctx context.Context, l *Lab) (f Finding, err error) {
	const rounds = 1000
	file, err := l.file(int64(page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	other, err := os.Open(file.Name())
	if err != nil {
		return f, err
	}
	defer other.Close()
	m, err := mapFile(file, 0, page, readWrite, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	b, buf, seen := m.bytes(), make([]byte, 8), 0
	for i := range rounds {
		want := fmt.Appendf(nil, "%08d", i)
		copy(b[i%(page-8):], want)
		if _, err := other.ReadAt(buf, int64(i%(page-8))); err != nil {
			return f, err
		}
		if bytes.Equal(buf, want) {
			seen++
		}
	}
	f.see("stores that read(2) saw at once, of 1000", float64(seen), "")
	survived, err := l.killedStores(ctx)
	if err != nil {
		return f, err
	}
	f.see("stores that are in the file after SIGKILL of their process, of 64", float64(survived), "")
	dirty, err := unwritten(file)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		f.untried("pages that are not on the device then", Why(err))
	case err != nil:
		return f, err
	default:
		f.see("pages that are not on the device then", float64(dirty), "pages")
		if err := unix.Msync(b, unix.MS_SYNC); err != nil {
			return f, os.NewSyscallError("msync", err)
		}
		if dirty, err = unwritten(file); err != nil {
			return f, err
		}
		f.see("after msync", float64(dirty), "pages")
	}
	// What is dirty is not on the device: what that means is tried, too.
	loss, err := KernelLoss{}, error(errNoBench)
	if l.Bench != nil {
		loss, err = l.Bench.KernelLoss(ctx)
	}
	machine := "a crash of the machine was not tried here"
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		f.untried("records lost with a kernel", Why(err))
	case err != nil:
		return f, err
	default:
		f.see("records not synced, when a kernel was lost by "+loss.By, float64(loss.Unsynced), "")
		f.see("of them lost", float64(loss.UnsyncedLost), "")
		f.see("records each synced by msync, when another was lost", float64(loss.Synced), "")
		f.see("of them lost", float64(loss.SyncedLost), "")
		machine = fmt.Sprintf("a crash of the machine took %d of %d records that were not synced, and %d of %d that msync had", loss.UnsyncedLost, loss.Unsynced, loss.SyncedLost, loss.Synced)
	}
	switch {
	case seen < rounds || survived < killedPages:
		f.Verdict, f.Because = Fails, "some stores were not seen by read, or died with their process"
	case loss.SyncedLost > 0:
		f.Verdict, f.Because = Fails, "it is of no use here: "+machine
	default:
		f.Verdict, f.Because = Depends, "not for readers, who see stores at once, nor for a crash of the process, which loses none; "+machine
	}
	return f, nil
}

const killedPages = 64

// killedStores has a child store to each page of a file, kills it, and counts the stores
// that are in the file.
func (l *Lab) killedStores(ctx context.Context) (n int, err error) {
	file, err := l.file(int64(killedPages * page))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	runtime.LockOSThread() // see child
	defer runtime.UnlockOSThread()
	cmd, cancel := command(ctx, "killed", file.Name())
	defer cancel()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, said := io.ReadFull(out, make([]byte, 1))
	cmd.Process.Kill()
	e := ended{stderr: stderr.String(), err: cmd.Wait()}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if said != nil || e.signal() != "SIGKILL" {
		return 0, fmt.Errorf("child of killed: %w: %s", errors.Join(said, e.err), stderr.String())
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(content); i += page {
		if content[i] == 'k' {
			n++
		}
	}
	return n, nil
}

func init() {
	// Stores, says so, and waits to be killed.
	children["killed"] = func(path string) error {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		m, err := mapFile(file, 0, killedPages*page, readWrite, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		for i := 0; i < killedPages; i++ {
			m.bytes()[i*page] = 'k'
		}
		if _, err := os.Stdout.Write([]byte{1}); err != nil {
			return err
		}
		time.Sleep(childTime)
		return errors.New("nobody killed it")
	}
}
