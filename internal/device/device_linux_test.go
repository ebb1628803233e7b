package device

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"iopath/internal/counters"
	"iopath/internal/datafile"
	"iopath/internal/pagecache"
	"iopath/workloads"
	"iopath/workloads/iomethod"
)

// newFile returns a file of that many bytes of content, on a real disk: below
// this package, since the system's temporary directory may be a tmpfs.
func newFile(t *testing.T, size int64) *os.File {
	t.Helper()
	dir, err := os.MkdirTemp(".", "testdata-*")
	if err != nil {
		t.Skipf("no directory to write to: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return fill(t, filepath.Join(dir, "file"), size)
}

func fill(t *testing.T, path string, size int64) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := io.Copy(f, io.NewSectionReader(datafile.Content(size), 0, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f
}

// open skips the test where the machine has no direct reads of the file.
func open(t *testing.T, f *os.File, block, depth int) *Reader {
	t.Helper()
	r, err := Open(f.Name(), block, depth)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// verify runs the job and compares what it came to with the content.
func verify(t *testing.T, r *Reader, p *iomethod.Plan, content io.ReaderAt) {
	t.Helper()
	want, err := workloads.Reference("sum", p, content)
	if err != nil {
		t.Fatal(err)
	}
	c, err := workloads.NewConsumer("sum", p.Block)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(p, c.Consume); err != nil {
		t.Fatal(err)
	}
	if err := workloads.Verify(c.Digest, want); err != nil {
		t.Error(err)
	}
}

func random(t *testing.T, size int64, block int) *iomethod.Plan {
	t.Helper()
	p, err := workloads.Random(size, block, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestABI(t *testing.T) {
	if got := unsafe.Sizeof(iocb{}); got != 64 {
		t.Errorf("an iocb takes %d bytes, want 64", got)
	}
	if got := unsafe.Sizeof(event{}); got != 32 {
		t.Errorf("an event takes %d bytes, want 32", got)
	}
}

func TestRead(t *testing.T) {
	for _, size := range []int64{0, 1, 4096, 1<<20 + 123, 8 << 20} {
		f := newFile(t, size)
		for _, block := range []int{4 << 10, 64 << 10, 1 << 20} {
			for _, depth := range []int{1, 2, 32} {
				t.Run(fmt.Sprintf("size=%d/block=%d/depth=%d", size, block, depth), func(t *testing.T) {
					r := open(t, f, block, depth)
					verify(t, r, workloads.Sequential(size, block), datafile.Content(size))
					verify(t, r, random(t, size, block), datafile.Content(size))
					if err := r.Read(workloads.Sequential(size, block), nil); err != nil {
						t.Errorf("Read without a consumer: %v", err)
					}
				})
			}
		}
	}
}

// A part of the file: the last piece is read beyond the plan's end, and only
// the plan's bytes may be handed on.
func TestReadPart(t *testing.T) {
	const size = 1 << 20
	r := open(t, newFile(t, size), 16<<10, 4)
	for _, p := range []*iomethod.Plan{
		{Start: 64 << 10, Length: 100_001, Block: 16 << 10},
		{Start: 64 << 10, Length: 100_001, Block: 16 << 10, Order: []uint32{6, 2, 5}},
		{Start: 64 << 10, Length: 100_001, Block: 4 << 10}, // less than the reader's block
		{Start: 64 << 10, Length: 777, Block: 1000},        // one piece, at an aligned offset
		{Start: 64 << 10, Length: 777, Block: 1 << 30},
	} {
		var got int64
		if err := r.Read(p, func(_ int64, b []byte) { got += int64(len(b)) }); err != nil || got != p.Bytes() {
			t.Errorf("Read(%+v) = %v after %d bytes, want %d", *p, err, got, p.Bytes())
		}
		if p.Block <= 16<<10 {
			verify(t, r, p, datafile.Content(size))
		}
	}
	// Buffers are aligned where the block is not.
	odd := open(t, newFile(t, size), 777, 4)
	verify(t, odd, &iomethod.Plan{Start: 64 << 10, Length: 777, Block: 777}, datafile.Content(size))
}

func TestReadRefuses(t *testing.T) {
	const size = 1 << 20
	f := newFile(t, size)
	r := open(t, f, 64<<10, 4)
	closed := open(t, f, 64<<10, 4)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    *Reader
		plan iomethod.Plan
		want error // nil: any
		text string
	}{
		{"unaligned block", r, iomethod.Plan{Length: size, Block: 1000}, errors.ErrUnsupported, "take a block that is a multiple of"},
		{"unaligned start", r, iomethod.Plan{Start: 1, Length: 1, Block: 4096}, errors.ErrUnsupported, "start at a multiple of"},
		{"larger pieces than opened for", r, iomethod.Plan{Length: size, Block: 128 << 10}, nil, "opened for 65536"},
		{"one byte beyond the file", r, iomethod.Plan{Length: size + 1, Block: 64 << 10}, io.ErrUnexpectedEOF, "ends at byte 1048576"},
		{"far beyond the file", r, iomethod.Plan{Start: 8 * size, Length: size, Block: 64 << 10}, io.ErrUnexpectedEOF, ""},
		{"closed", closed, iomethod.Plan{Length: size, Block: 4096}, os.ErrClosed, ""},
		{"closed, nothing to do", closed, iomethod.Plan{Block: 4096}, os.ErrClosed, ""},
	} {
		err := c.r.Read(&c.plan, nil)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), f.Name()) {
			t.Errorf("%s: got error %v, want one that matches %v and has %q", c.name, err, c.want, c.text)
		}
		if c.r.flying != 0 {
			t.Errorf("%s: %d requests are in flight after Read", c.name, c.r.flying)
		}
	}
	if err := closed.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: got %v, want %v", err, os.ErrClosed)
	}
	verify(t, r, workloads.Sequential(size, 64<<10), datafile.Content(size)) // none of it sticks
}

func TestFileShorterThanThePlan(t *testing.T) {
	const size = 1 << 20
	for _, cut := range []int64{0, 1, 4096, 5000, size - 1} {
		f := newFile(t, size)
		r := open(t, f, 64<<10, 8)
		if err := f.Truncate(cut); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*iomethod.Plan{workloads.Sequential(size, 64<<10), random(t, size, 64<<10)} {
			var beyond int64
			err := r.Read(p, func(off int64, b []byte) { beyond = max(beyond, off+int64(len(b))) })
			if !errors.Is(err, io.ErrUnexpectedEOF) || beyond > cut {
				t.Errorf("file cut to %d: got %v and bytes up to %d, want %v", cut, err, beyond, io.ErrUnexpectedEOF)
			}
		}
	}
}

// A consumer that panics leaves a reader that can go on.
func TestConsumerPanics(t *testing.T) {
	const size = 1 << 20
	r := open(t, newFile(t, size), 4096, 32)
	func() {
		defer func() {
			if got := recover(); got != "on purpose" {
				t.Errorf("recovered %v, want what the consumer panicked with", got)
			}
		}()
		r.Read(workloads.Sequential(size, 4096), func(int64, []byte) { panic("on purpose") })
	}()
	verify(t, r, workloads.Sequential(size, 4096), datafile.Content(size))
}

// The pieces are asked for in the plan's order, and as many are in flight as
// the depth allows.
func TestOrderAndDepth(t *testing.T) {
	const size, block = 1 << 20, 4096
	f := newFile(t, size)
	for _, depth := range []int{1, 2, 7, 32} {
		r := open(t, f, block, depth)
		p := random(t, size, block)
		var asked []int
		most := 0
		p.Pace = func(i int) {
			asked = append(asked, i)
			most = max(most, r.flying+1)
		}
		var got []int64
		if err := r.Read(p, func(off int64, _ []byte) { got = append(got, off) }); err != nil {
			t.Fatal(err)
		}
		var want []int64
		for i := range p.Pieces() {
			off, _ := p.Piece(i)
			want = append(want, off)
		}
		if len(asked) != len(want) || !slices.IsSorted(asked) {
			t.Errorf("depth %d: asked for the pieces %v, want 0 to %d", depth, asked, len(want)-1)
		}
		if most != depth {
			t.Errorf("depth %d: at most %d requests in flight", depth, most)
		}
		if depth == 1 && !slices.Equal(got, want) {
			t.Errorf("depth 1: consumed %v, want the plan's order %v", got, want)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("depth %d: consumed %v, want each of %v once", depth, got, want)
		}
	}
}

// What a request can end with, and what becomes of it.
func TestComplete(t *testing.T) {
	const size, block = 1 << 20, 64 << 10
	r := open(t, newFile(t, size), block, 1)
	for _, c := range []struct {
		name string
		n    int
		res  []int64
		want error
		rest uint64 // bytes that are asked for again; 0: the piece is done
	}{
		{"all of it", block, []int64{block}, nil, 0},
		{"all that was wanted of more", 100, []int64{4096}, nil, 0},
		{"the end of the file behind the piece", 100, []int64{100}, nil, 0},
		{"short", block, []int64{4096}, nil, block - 4096},
		{"short, twice", block, []int64{4096, 8192}, nil, block - 12288},
		{"short, then the rest", block, []int64{4096, block - 4096}, nil, 0},
		{"a signal", block, []int64{-int64(unix.EINTR)}, nil, block},
		{"short, then a signal", block, []int64{4096, -int64(unix.EINTR)}, nil, block - 4096},
		{"nothing", block, []int64{0}, io.ErrUnexpectedEOF, 0},
		{"short, then nothing", block, []int64{4096, 0}, io.ErrUnexpectedEOF, 0},
		{"short and not aligned", block, []int64{4097}, io.ErrUnexpectedEOF, 0},
		{"an error", block, []int64{-int64(unix.EIO)}, unix.EIO, 0},
	} {
		const off = 3 * block
		r.idle, r.queue = append(r.idle[:0], &r.iocbs[0]), r.queue[:0]
		r.ask(off, c.n)
		first := *r.queue[0]
		consumed := 0
		var err error
		for _, res := range c.res {
			r.queue = r.queue[:0]
			err = r.complete(event{res: res}, func(at int64, b []byte) {
				consumed++
				if at != off || len(b) != c.n {
					t.Errorf("%s: consumed %d bytes at %d, want %d at %d", c.name, len(b), at, c.n, int64(off))
				}
			})
		}
		if c.want == nil && err != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
		if done := c.want == nil && c.rest == 0; done != (consumed == 1) || done != (len(r.idle) == 1) {
			t.Errorf("%s: consumed %d times, %d requests idle; want done: %v", c.name, consumed, len(r.idle), done)
		}
		if c.rest == 0 {
			continue
		}
		if len(r.queue) != 1 {
			t.Errorf("%s: %d requests queued, want 1", c.name, len(r.queue))
			continue
		}
		if q, moved := *r.queue[0], block-c.rest; q.bytes != c.rest || q.offset != first.offset+int64(moved) || q.buf != first.buf+moved {
			t.Errorf("%s: asks again for %d bytes at offset %d, %d into the buffer; want %d bytes, %d further", c.name, q.bytes, q.offset, q.buf-first.buf, c.rest, moved)
		}
	}
}

// A context with less room than the reader takes for granted makes io_submit
// take a part, and then answer EAGAIN.
func TestKernelWithoutRoom(t *testing.T) {
	const size, block, depth = 16 << 20, 4096, 4096
	r := open(t, newFile(t, size), block, depth)
	var small uintptr
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&small)), 0); errno != 0 {
		t.Fatal(errno)
	}
	large := r.ctx
	r.ctx = small
	defer func() {
		r.ctx = large
		unix.Syscall(unix.SYS_IO_DESTROY, small, 0, 0)
	}()
	most := 0
	p := workloads.Sequential(size, block)
	verify(t, r, p, datafile.Content(size))
	p.Pace = func(int) { most = max(most, r.flying) }
	verify(t, r, p, datafile.Content(size))
	if most >= depth-1 {
		t.Skipf("this kernel had room for %d requests: nothing was proved", most)
	}
}

// Signals to the reading thread cut its system calls short.
func TestSignals(t *testing.T) {
	const size = 8 << 20
	r := open(t, newFile(t, size), 4096, 4)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	reader, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				// The runtime takes it for a preemption that came too late.
				unix.Tgkill(os.Getpid(), reader, unix.SIGURG)
			}
		}
	}()
	verify(t, r, workloads.Sequential(size, 4096), datafile.Content(size))
	close(stop)
	<-stopped
}

func TestReadDoesNotAllocate(t *testing.T) {
	const size = 1 << 20
	f := newFile(t, size)
	for _, depth := range []int{1, 32} {
		r := open(t, f, 64<<10, depth)
		c, err := workloads.NewConsumer("sum", 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		p := random(t, size, 64<<10)
		if got := testing.AllocsPerRun(10, func() {
			if err := r.Read(p, c.Consume); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("depth %d: %v allocations a job, want 0", depth, got)
		}
	}
}

// The page cache neither gets the pages, nor gives them.
func TestPastThePageCache(t *testing.T) {
	const size = 8 << 20
	f := newFile(t, size)
	r := open(t, f, 64<<10, 8)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Type == unix.TMPFS_MAGIC {
		t.Skipf("the checkout is on tmpfs, whose pages stay (statfs: %v)", err)
	}
	resident := func() pagecache.Residency {
		t.Helper()
		now, err := pagecache.Resident(f)
		if err != nil {
			t.Skip(err)
		}
		return now
	}
	if err := pagecache.Evict(f); err != nil {
		t.Fatal(err)
	}
	if err := resident().Cold(); err != nil {
		t.Skipf("this filesystem does not evict: %v", err)
	}
	verify(t, r, workloads.Sequential(size, 64<<10), datafile.Content(size))
	if err := resident().Cold(); err != nil {
		t.Errorf("after Read: %v", err)
	}

	if err := pagecache.Load(f); err != nil {
		t.Fatal(err)
	}
	before := deviceBytes(t)
	verify(t, r, workloads.Sequential(size, 64<<10), datafile.Content(size))
	if got := deviceBytes(t) - before; got < size {
		t.Errorf("a job over a warm file read %d bytes from the device, want %d", got, size)
	}
}

// deviceBytes is how many bytes this process has had read from block devices:
// read_bytes of /proc/PID/io (proc_pid_io(5)).
func deviceBytes(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("bytes from the device are not told: %v", err)
	}
	_, at, _ := bytes.Cut(text, []byte("\nread_bytes: "))
	if _, err := fmt.Sscan(string(at), &n); err != nil {
		t.Skipf("bytes from the device are not told: %q", text)
	}
	return n
}

// A read that no block device serves counts no bytes: then a count of 0 says
// nothing. procfs stands for the filesystems that ask a process or a machine.
func TestTells(t *testing.T) {
	onDisk := newFile(t, 1<<20)
	hole := newFile(t, 0)
	if err := hole.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	proc, err := os.Open("/proc/self/comm") // ours, or its residency is not told
	if err != nil {
		t.Skip(err)
	}
	defer proc.Close()
	if err := Tells(proc); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a file of procfs: %v, want an error that matches errors.ErrUnsupported", err)
	}
	if err := Tells(hole); err != nil {
		t.Errorf("a file without data: %v, want nil: the device has nothing of it", err)
	}
	open(t, onDisk, 64<<10, 1).Close() // skips where there is no device
	if err := Tells(onDisk); err != nil {
		t.Errorf("a file on a disk: %v, want nil", err)
	}
}

func TestServed(t *testing.T) {
	const asked = 8192
	for _, c := range []struct {
		name string
		used counters.Usage
		ok   bool
	}{
		{"all", counters.Usage{HasDeviceBytes: true, DeviceBytes: asked}, true},
		{"more, as at the end of the file", counters.Usage{HasDeviceBytes: true, DeviceBytes: asked + 512}, true},
		{"a part", counters.Usage{HasDeviceBytes: true, DeviceBytes: asked - 512}, false},
		{"not told", counters.Usage{}, true},
	} {
		if err := Served(c.used, asked); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrCached) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// tmpfs refuses O_DIRECT, or since Linux 6.6 takes it and must be right.
func TestTmpfs(t *testing.T) {
	const size = 1<<20 + 123
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skipf("/dev/shm is not a tmpfs (statfs: %v)", err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "iopath-*")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	f := fill(t, filepath.Join(dir, "file"), size)
	r := open(t, f, 64<<10, 8) // skips where it is refused
	verify(t, r, workloads.Sequential(size, 64<<10), datafile.Content(size))
	verify(t, r, random(t, size, 64<<10), datafile.Content(size))
}

func TestOpenRefuses(t *testing.T) {
	f := newFile(t, 4096)
	for _, c := range []struct {
		name         string
		path         string
		block, depth int
		want         error // nil: any
	}{
		{"no such file", f.Name() + "-not", 4096, 1, os.ErrNotExist},
		{"no block", f.Name(), 0, 1, nil},
		{"no depth", f.Name(), 4096, 0, nil},
		{"more requests than any kernel has", f.Name(), 4096, 1 << 30, nil},
		{"procfs has no O_DIRECT", "/proc/self/maps", 4096, 1, errors.ErrUnsupported},
	} {
		r, err := Open(c.path, c.block, c.depth)
		if err == nil {
			r.Close()
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got error %v, want one that matches %v", c.name, err, c.want)
		}
	}
}

// A thread without io_setup, as under a strict seccomp profile or in a kernel
// that was built without AIO.
func TestNoAIO(t *testing.T) {
	f := newFile(t, 4096)
	open(t, f, 4096, 1) // skips where there is none to begin with
	for _, c := range []struct {
		errno       unix.Errno
		unsupported bool
		text        string
	}{
		{unix.EPERM, true, "seccomp"},
		{unix.ENOSYS, true, "no AIO"},
		{unix.EAGAIN, false, "fs.aio-max-nr"},
		{unix.ENOMEM, false, "cannot allocate memory"},
	} {
		opened, refused := make(chan error), make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			err := without(unix.SYS_IO_SETUP, c.errno)
			refused <- err
			if err != nil {
				return
			}
			r, err := Open(f.Name(), 4096, 1)
			if err == nil {
				r.Close()
			}
			opened <- err
		}()
		if err := <-refused; err != nil {
			t.Skipf("no seccomp filters: %v", err)
		}
		err := <-opened
		if !errors.Is(err, c.errno) || errors.Is(err, errors.ErrUnsupported) != c.unsupported || !strings.Contains(err.Error(), c.text) {
			t.Errorf("io_setup fails with %v: got error %v, want unsupported: %v, and the text %q", c.errno, err, c.unsupported, c.text)
		}
	}
}

// without makes a system call fail on this thread from now on (seccomp(2)).
func without(call uint32, errno unix.Errno) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}
