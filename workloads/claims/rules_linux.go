package claims

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file has the claims on what mmap allows: lengths, offsets, ends, protections.

const (
	readWrite = unix.PROT_READ | unix.PROT_WRITE
)

// alignment tries odd lengths and offsets.
func alignment(_ context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(int64(4 * page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	try := func(offset int64, length int) (bool, error) {
		m, err := mapFile(file, offset, length, unix.PROT_READ, unix.MAP_SHARED)
		if errors.Is(err, unix.EINVAL) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		touch(m.bytes()[:1], 1)
		return true, m.unmap()
	}
	lengths, offsets := true, false
	for _, length := range []int{1, 100, page - 1, page + 1, 3*page + 7} {
		ok, err := try(0, length)
		if err != nil {
			return f, err
		}
		f.is(fmt.Sprintf("length %d at offset 0 is mapped", length), ok)
		lengths = lengths && ok
	}
	for _, offset := range []int64{1, 512, int64(page) - 1} {
		ok, err := try(offset, page)
		if err != nil {
			return f, err
		}
		f.is(fmt.Sprintf("offset %d is mapped (else EINVAL)", offset), ok)
		offsets = offsets || ok
	}
	aligned, err := try(int64(page), 100)
	if err != nil {
		return f, err
	}
	f.is("offset of one page is mapped", aligned)
	none, err := try(0, 0)
	if err != nil {
		return f, err
	}
	f.is("length 0 is mapped (else EINVAL)", none)
	if lengths && !offsets && aligned {
		f.Verdict, f.Because = Depends, "the length need not be a multiple of the page, only above zero; the offset must"
	} else {
		f.Verdict, f.Because = Fails, "this kernel has rules of its own"
	}
	return f, nil
}

// tail looks behind the end of a file that ends within a page.
func tail(ctx context.Context, l *Lab) (f Finding, err error) {
	size := page + 100
	file, err := l.file(int64(size))
	if err != nil {
		return f, err
	}
	defer file.Close()
	m, err := mapFile(file, 0, 4*page, readWrite, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	b := m.bytes()
	inside := bytes.Contains(b[size-8:size], []byte("a")) // "iopath! "
	zero := bytes.Count(b[size:2*page], []byte{0}) == 2*page-size
	f.is("the last bytes of the file are there", inside)
	f.is("the rest of its last page reads zero", zero)
	b[size+10] = 'x' // silently
	taken := f.is("a store there is seen in the mapping", b[size+10] == 'x')
	if err := unix.Msync(b[:2*page], unix.MS_SYNC); err != nil {
		return f, os.NewSyscallError("msync", err)
	}
	st, err := file.Stat()
	if err != nil {
		return f, err
	}
	f.see("size of the file after a store behind its end, less its size before", float64(st.Size())-float64(size), "B")
	addr, fault := faultsAt(func() { load(b[2*page:]) })
	onNext := fault && addr == uintptr(unsafe.Pointer(&b[2*page]))
	f.is("the next page is a fault at its address", onNext)
	e, err := child(ctx, "protection", "behind "+file.Name())
	if err != nil {
		return f, err
	}
	bus := f.is("by default that ends a process, by SIGBUS", e.signal() == "SIGBUS")

	// What the kernel says where it should read or write there itself.
	_, readErr := unix.Pread(int(file.Fd()), b[2*page:2*page+8], 0)
	efault := f.is("pread into it fails with EFAULT", errors.Is(readErr, unix.EFAULT))
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return f, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	_, wholly := unix.Write(pipe[1], b[2*page:2*page+50])
	efault = f.is("write from it fails with EFAULT", errors.Is(wholly, unix.EFAULT)) && efault
	into, err := l.file(0)
	if err != nil {
		return f, err
	}
	defer into.Close()
	for _, to := range []struct {
		name string
		fd   int
	}{{"a pipe", pipe[1]}, {"a file", int(into.Fd())}} {
		n, err := unix.Write(to.fd, b[2*page-50:2*page+50])
		if err != nil && !errors.Is(err, unix.EFAULT) {
			return f, os.NewSyscallError("write", err)
		}
		f.see("of 50 bytes before it and 50 in it, write to "+to.name+" moves (0: EFAULT)", float64(max(n, 0)), "B")
		efault = efault && n < 100
	}

	// When the file is made longer, what was stored behind its end must not appear.
	if err := file.Truncate(int64(2 * page)); err != nil {
		return f, err
	}
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, int64(size+10)); err != nil {
		return f, err
	}
	lost := one[0] == 0
	f.is("the store behind the end is gone when the file grows", lost)
	switch {
	case !inside || !onNext || !bus || !efault:
		f.Verdict, f.Because = Fails, "the file's own bytes are missing, or the page behind them is there"
	case zero && taken:
		f.Verdict = Depends
		f.Because = "the rest of the last page can be accessed too: it reads zero and takes stores, which never are the file's"
		if !lost {
			f.Because = "the rest of the last page can be accessed too, and a store there appears when the file grows"
		}
		f.Because += "; from the next page on it is SIGBUS, and EFAULT or a short count for system calls"
	default:
		f.Verdict, f.Because = Fails, "what lies behind the end does not read zero"
	}
	return f, nil
}

// outlives closes and unlinks what is mapped.
func outlives(_ context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(int64(2 * page))
	if err != nil {
		return f, err
	}
	m, err := mapFile(file, 0, 2*page, readWrite, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return f, err
	}
	defer m.unmap()
	if err := file.Close(); err != nil {
		return f, err
	}
	b := m.bytes()
	_, fault := faultsAt(func() { b[0] = 'x' })
	again, err := os.ReadFile(file.Name())
	if err != nil {
		return f, err
	}
	closed := !fault && again[0] == 'x'
	f.is("a store after close reaches the file", closed)
	if err := os.Remove(file.Name()); err != nil {
		return f, err
	}
	_, fault = faultsAt(func() { b[page] = 'y' })
	unlinked := !fault && b[0] == 'x' && b[page] == 'y'
	f.is("loads and stores after unlink", unlinked)
	// The file is still there for who holds it: its blocks are freed by munmap.
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return f, err
	}
	deleted := f.is("/proc/self/maps calls it deleted", mapsOf(string(maps), file.Name()+" (deleted)") == 1)
	f.Verdict, f.Because = Holds, "the mapping holds the file by itself, without a descriptor and without a name"
	if !closed || !unlinked || !deleted {
		f.Verdict, f.Because = Fails, "the mapping did not outlive them"
	}
	return f, nil
}

// resize changes a file below a mapping that is longer.
func resize(_ context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(int64(page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	m, err := mapFile(file, 0, 4*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	b := m.bytes()
	_, before := faultsAt(func() { load(b[page:]) })
	f.is("behind the end of the file it faults", before)
	if _, err := file.WriteAt([]byte("grown"), int64(page)); err != nil {
		return f, err
	}
	grown := false
	_, fault := faultsAt(func() { grown = string(b[page:page+5]) == "grown" })
	f.is("bytes that the file gained are seen in the old mapping", !fault && grown)
	if err := file.Truncate(100); err != nil {
		return f, err
	}
	_, shrunk := faultsAt(func() { load(b[page:]) })
	f.is("it faults again where the file was cut", shrunk)
	f.is("bytes before the new end stay", b[50] != 0)
	private, err := l.file(int64(2 * page))
	if err != nil {
		return f, err
	}
	defer private.Close()
	p, err := mapFile(private, 0, 2*page, readWrite, unix.MAP_PRIVATE)
	if err != nil {
		return f, err
	}
	defer p.unmap()
	p.bytes()[page] = 'c' // copied
	if err := private.Truncate(100); err != nil {
		return f, err
	}
	_, copied := faultsAt(func() { load(p.bytes()[page:]) })
	f.is("even a copied page of a private mapping is gone", copied)
	if before && !fault && grown && shrunk {
		f.Verdict, f.Because = Holds, "the mapping follows the file both ways"
		if copied {
			f.Because += "; truncation takes copied pages of private mappings too"
		}
	} else {
		f.Verdict, f.Because = Fails, "the mapping does not follow the file"
	}
	return f, nil
}

// sampleAppend does what the article's sample does: extend the file, map all of it, move
// the pointer to the old end, copy, and unmap by the moved pointer.
func sampleAppend(_ context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(100)
	if err != nil {
		return f, err
	}
	defer file.Close()
	text := []byte("appended")
	appendTo := func() (mapping, int, error) {
		st, err := file.Stat()
		if err != nil {
			return mapping{}, 0, err
		}
		old := int(st.Size())
		if err := file.Truncate(int64(old + len(text))); err != nil {
			return mapping{}, 0, err
		}
		m, err := mapFile(file, 0, old+len(text), readWrite, unix.MAP_SHARED)
		if err != nil {
			return m, 0, err
		}
		copy(m.bytes()[old:], text)
		return m, old, nil
	}
	m, old, err := appendTo()
	if err != nil {
		return f, err
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		return f, err
	}
	appended := bytes.HasSuffix(content, text)
	f.is("the bytes are appended", appended)
	moved := unmapAt(unsafe.Add(m.addr, old), uintptr(len(text)))
	f.is("munmap by the moved pointer fails with EINVAL", errors.Is(moved, unix.EINVAL))
	leaks, err := mappedTimes(file.Name())
	if err != nil {
		return f, err
	}
	f.see("mappings of the file left then", float64(leaks), "")
	if err := m.unmap(); err != nil {
		return f, err
	}
	right, err := mappedTimes(file.Name())
	if err != nil {
		return f, err
	}
	f.see("mappings of the file left after munmap by the pointer that mmap gave", float64(right), "")
	// Where the old end is a page's, the same munmap works, and leaks the pages before it.
	if err := file.Truncate(int64(page)); err != nil {
		return f, err
	}
	m, old, err = appendTo()
	if err != nil {
		return f, err
	}
	moved2 := unmapAt(unsafe.Add(m.addr, old), uintptr(len(text)))
	leaks2, err := mappedTimes(file.Name())
	if err != nil {
		return f, err
	}
	f.is("where the file ended with a page, munmap by the moved pointer works", moved2 == nil)
	f.see("mappings of the file left then, of the pages before it", float64(leaks2), "")
	if err := m.unmap(); err != nil {
		return f, err
	}
	switch {
	case appended && errors.Is(moved, unix.EINVAL) && leaks == 1 && right == 0:
		f.Verdict, f.Because = Depends, "it appends; its munmap gets a pointer that is not aligned and fails, which the sample does not look at, and the mapping leaks"
	case appended && moved == nil:
		f.Verdict, f.Because = Holds, "both work here"
	default:
		f.Verdict, f.Because = Fails, "the sample does not do what it is there for"
	}
	return f, nil
}

// mappedTimes is how many mappings of the file this process has.
func mappedTimes(path string) (int, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	return mapsOf(string(maps), path), err
}

// mapsOf counts the lines of a /proc/PID/maps that are of the file. The path is what
// follows five fields.
func mapsOf(maps, path string) (n int) {
	for line := range strings.Lines(maps) {
		for range 5 {
			_, line, _ = strings.Cut(strings.TrimLeft(line, " "), " ")
		}
		if strings.TrimSpace(line) == path {
			n++
		}
	}
	return n
}

// protection asks for what is forbidden. What ends in a signal runs in a child.
func protection(ctx context.Context, l *Lab) (f Finding, err error) {
	file, err := l.file(int64(4 * page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	all := true
	for _, test := range []struct{ what, arg, want string }{
		{"a load after munmap is", "unmapped", "SIGSEGV"},
		{"a store into a read-only mapping is", "read-only", "SIGSEGV"},
	} {
		e, err := child(ctx, "protection", test.arg+" "+file.Name())
		if err != nil {
			return f, err
		}
		f.is(test.what+" "+test.want, e.signal() == test.want)
		all = all && e.signal() == test.want
	}
	reader, err := os.Open(file.Name())
	if err != nil {
		return f, err
	}
	defer reader.Close()
	m, err := mapFile(reader, 0, page, readWrite, unix.MAP_SHARED)
	denied := errors.Is(err, unix.EACCES)
	if err == nil {
		m.unmap()
	}
	f.is("shared and writable, of a file opened for reading: EACCES", denied)
	m, err = mapFile(reader, 0, page, readWrite, unix.MAP_PRIVATE)
	if err == nil {
		err = m.unmap()
	}
	all = f.is("private and writable, of the same file, is mapped", err == nil) && all
	f.Verdict, f.Because = Holds, "each is refused: by EACCES at once, or by a signal when it is done"
	if !all || !denied {
		f.Verdict, f.Because = Fails, "something of it was let through"
	}
	return f, nil
}

func init() {
	children["protection"] = func(arg string) error {
		what, path, _ := strings.Cut(arg, " ")
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		prot := readWrite
		if what == "read-only" {
			prot = unix.PROT_READ
		}
		m, err := mapFile(file, 0, 4*page, prot, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		b := m.bytes()
		switch what {
		case "unmapped":
			// Between two pages that stay: nothing else that is mapped meanwhile, by
			// Go's runtime say, fits in there.
			load(b[page:])
			if err := unmapAt(unsafe.Add(m.addr, page), uintptr(2*page)); err != nil {
				return err
			}
			load(b[page:])
		case "read-only":
			load(b)
			b[0] = 'x'
		case "behind": // the end of the file is in its second page
			load(b[page:])
			load(b[2*page:])
		}
		return nil
	}
}

// shared stores by one process what another one has mapped.
func shared(ctx context.Context, l *Lab) (f Finding, err error) {
	const pages = 64
	file, err := l.file(int64(pages * page))
	if err != nil {
		return f, err
	}
	defer file.Close()
	m, err := mapFile(file, 0, pages*page, readWrite, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer m.unmap()
	p, err := mapFile(file, 0, pages*page, readWrite, unix.MAP_PRIVATE)
	if err != nil {
		return f, err
	}
	defer p.unmap()
	touch(p.bytes(), 1) // mapped, and still the file's
	private := p.bytes()
	_, before, err := p.held()
	if err != nil {
		return f, err
	}
	cost, err := paid(func() error {
		for i := 0; i < len(private); i += page {
			private[i] = 'p'
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	_, after, err := p.held()
	if err != nil {
		return f, err
	}
	f.see("faults of a store to each of 64 private pages that were read before", float64(cost.faults), "faults")
	f.see("memory that is the process's own then, and not the file's", float64(after-before), "B")
	// The other process answers each number that appears, in the mapping itself.
	runtime.LockOSThread() // see child
	defer runtime.UnlockOSThread()
	cmd, cancel := command(ctx, "shared", file.Name())
	defer cancel()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return f, err
	}
	const rounds = 1000
	saw := pingPong(m.bytes()[:16], rounds)
	cmd.Process.Kill()
	ended := ended{stderr: stderr.String(), err: cmd.Wait()}
	if ctx.Err() != nil {
		return f, context.Cause(ctx)
	}
	if ended.signal() != "SIGKILL" {
		return f, fmt.Errorf("child of shared: %w: %s", ended.err, stderr.String())
	}
	f.see("stores of 1000 that another process answered by stores of its own", float64(saw), "")
	m.bytes()[2*page] = 'q'
	content, err := os.ReadFile(file.Name())
	if err != nil {
		return f, err
	}
	reached := content[2*page] == 'q'
	kept := true
	for i := 0; i < len(content); i += page {
		kept = kept && private[i] == 'p' && content[i] != 'p'
	}
	f.is("the shared store is in the file", reached)
	f.is("the private stores are not, and stay", kept)
	switch {
	case saw == rounds && reached && kept && after-before == int64(pages*page):
		f.Verdict, f.Because = Holds, "shared stores are the file; a private one copies its page first"
	case saw == rounds && reached && kept:
		f.Verdict, f.Because = Depends, "as said, but what was copied is not what was stored to"
	default:
		f.Verdict, f.Because = Fails, "a store was not seen, or seen where it should not be"
	}
	return f, nil
}
