package crash

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A voldisk is a disk whose cache forgets: a file in a FUSE filesystem of our own, of which
// we see each WRITE, and each FSYNC, which is a flush of the disk's cache. What a power
// cut leaves is all that was written before the last flush, and of what came after any
// part, sector by sector: a disk may write its cache back in any order.
//
// It is served by a process of its own: see apart.
type voldisk struct {
	place   string
	dir     string // where it is mounted
	size    int64
	durable *os.File // what the disk has for good
	pending *os.File // what it had in its cache when it was paused
	before  int64    // bytes that were written before the writer began
	server  *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
	keep    func(func() error) error
}

// A extent is a stretch of the disk that was written.
type extent struct {
	at   int64
	data []byte
}

// sector is what a disk writes whole.
const sector = 512

// diskName is the file's.
const diskName = "disk"

// diskEnv makes this program the server of a disk: a diskSpec.
const diskEnv = "IOPATH_CRASH_DISK"

// A diskSpec is what a server is to serve. Its descriptors 3 and 4 are what the disk has
// for good, and where it puts what it has in its cache when it is paused.
type diskSpec struct {
	Dir   string // to mount it at
	Place string // for its own file
	Size  int64
}

// A diskAnswer is what a server says when it is mounted, and when it was asked.
type diskAnswer struct {
	Absent  string `json:",omitempty"` // why there is no FUSE
	Broken  string `json:",omitempty"`
	Written int64  // bytes
	Flushes int
}

func lacksFUSE() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: FUSE: %w", errors.ErrUnsupported, err)
	}
	return lacksMounts()
}

// newVoldisk makes one of so many bytes, all zero.
func (p *place) newVoldisk(size int64) (d *voldisk, err error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("%w: FUSE: %w", errors.ErrUnsupported, err)
	}
	d = &voldisk{place: p.dir, dir: filepath.Join(p.dir, "voldisk"), size: size, keep: p.keep}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.durable, err = unlinked(p.dir, size); err != nil {
		return nil, err
	}
	if d.pending, err = unlinked(p.dir, 0); err != nil {
		return nil, err
	}
	s, err := json.Marshal(diskSpec{Dir: d.dir, Place: p.dir, Size: size})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), diskEnv+"="+string(s))
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{d.durable, d.pending}
	// A group of its own: Ctrl-C is for us to answer.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if d.orders, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.answers = bufio.NewReader(out)
	if err := p.keep(cmd.Start); err != nil {
		return nil, fmt.Errorf("start the voldisk's server: %w", err)
	}
	d.server = cmd
	_, err = d.answer()
	return d, err
}

// unlinked makes a file without a name.
func unlinked(place string, size int64) (*os.File, error) {
	f, err := os.CreateTemp(place, "voldisk-")
	if err != nil {
		return nil, err
	}
	if err = errors.Join(os.Remove(f.Name()), f.Truncate(size)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ask asks the server, and waits for its answer.
func (d *voldisk) ask(order string) (diskAnswer, error) {
	if _, err := io.WriteString(d.orders, order+"\n"); err != nil {
		return diskAnswer{}, fmt.Errorf("ask the voldisk's server: %w", err)
	}
	return d.answer()
}

func (d *voldisk) answer() (a diskAnswer, err error) {
	line, err := d.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("the voldisk's server says nothing: %w", err)
	case a.Absent != "":
		return a, fmt.Errorf("%w: mount a FUSE filesystem: %s (run as root)", errors.ErrUnsupported, a.Absent)
	case a.Broken != "":
		return a, errors.New(a.Broken)
	}
	return a, nil
}

// path is where the disk is a file.
func (d *voldisk) path() string { return filepath.Join(d.dir, diskName) }

// close unmounts it, in both namespaces, and ends its server.
func (d *voldisk) close() error {
	var errs []error
	if d.server != nil {
		for _, do := range []func(func() error) error{func(f func() error) error { return f() }, d.keep} {
			// The other namespace may be the same, or nothing be mounted.
			if err := do(func() error { return unmount(d.dir) }); err != nil && !errors.Is(err, unix.EINVAL) {
				errs = append(errs, err)
			}
		}
		d.orders.Close()
		d.server.Process.Kill()
		d.server.Wait()
	}
	for _, f := range []*os.File{d.durable, d.pending} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, os.Remove(d.dir))...)
}

// begin notes what was written until now: by who made the filesystem.
func (d *voldisk) begin() error {
	a, err := d.ask("tell")
	d.before = a.Written
	return err
}

// A cut is what a power cut may leave beside the durable part: what came after it.
type cut struct {
	pending []extent
	written int64
}

// pause returns what the disk had in its cache at this moment. Who has it mounted gets no
// answer until it is resumed; then it goes on as if nothing had happened.
func (d *voldisk) pause() (*cut, error) {
	a, err := d.ask("pause")
	if err != nil {
		return nil, err
	}
	c := &cut{written: a.Written}
	in := bufio.NewReaderSize(io.NewSectionReader(d.pending, 0, math.MaxInt64), 1<<20)
	for {
		var head [12]byte
		if _, err := io.ReadFull(in, head[:]); err == io.EOF {
			return c, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what the voldisk had in its cache: %w", err)
		}
		e := extent{int64(binary.LittleEndian.Uint64(head[:])), make([]byte, binary.LittleEndian.Uint32(head[8:]))}
		if _, err := io.ReadFull(in, e.data); err != nil {
			return nil, fmt.Errorf("read what the voldisk had in its cache: %w", err)
		}
		c.pending = append(c.pending, e)
	}
}

// cutPower makes a file of what a power cut at this moment would leave, and returns how many
// bytes had been written until then. The disk goes on.
func (d *voldisk) cutPower(chance float64, rng *rand.Rand) (image *os.File, written int64, err error) {
	left, err := d.pause()
	if err == nil {
		written = left.written - d.before
		image, err = d.image(left, chance, rng)
	}
	// Else who has it mounted waits for ever, and we for them.
	if _, resumed := d.ask("resume"); err == nil && resumed != nil {
		image.Close()
		os.Remove(image.Name())
		err = resumed
	}
	return image, written, err
}

// image makes a file of what is left, with each sector of the pending ones kept with the
// given chance: 0 for none, 1 for all.
func (d *voldisk) image(c *cut, chance float64, rng *rand.Rand) (*os.File, error) {
	f, err := copySparse(d.place, d.durable, d.size)
	if err != nil {
		return nil, err
	}
	for _, e := range c.pending {
		for i := 0; i < len(e.data); i += sector {
			if chance == 0 || chance < 1 && rng.Float64() >= chance {
				continue
			}
			if _, err := f.WriteAt(e.data[i:min(i+sector, len(e.data))], e.at+int64(i)); err != nil {
				f.Close()
				os.Remove(f.Name())
				return nil, err
			}
		}
	}
	return f, nil
}

// copySparse copies a file, its holes left out.
func copySparse(place string, from *os.File, size int64) (*os.File, error) {
	to, err := os.CreateTemp(place, "image-")
	if err != nil {
		return nil, err
	}
	if err = to.Truncate(size); err == nil {
		err = copyData(to, 0, from, size)
	}
	if err != nil {
		to.Close()
		os.Remove(to.Name())
		return nil, err
	}
	return to, nil
}

// copyData copies what is no hole of a file to a place in another.
func copyData(to *os.File, base int64, from *os.File, size int64) error {
	return eachData(from, size, func(at, length int64) error {
		_, err := io.Copy(io.NewOffsetWriter(to, base+at), io.NewSectionReader(from, at, length))
		return err
	})
}

// eachData calls do for each stretch of the file that is no hole.
func eachData(f *os.File, size int64, do func(at, length int64) error) error {
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("lseek SEEK_DATA", err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return os.NewSyscallError("lseek SEEK_HOLE", err)
		}
		if err := do(data, hole-data); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// A diskServer is the filesystem, in the process that serves it.
type diskServer struct {
	fuse.RawFileSystem
	size    int64
	durable *os.File // as of the last flush
	told    *os.File // where the client reads what was pending

	mu      sync.Mutex
	now     *os.File // as a reader sees it
	pending []extent // written since the last flush
	written int64    // bytes, in all
	flushes int
	err     error // the first of ours, which no one may overlook
}

const (
	rootNode = 1
	diskNode = 2
)

// serveDisk serves a disk, where this process is its server, until it is told to end.
func serveDisk() bool {
	env, ok := os.LookupEnv(diskEnv)
	if !ok {
		return false
	}
	out := json.NewEncoder(os.Stdout)
	var s diskSpec
	err := json.Unmarshal([]byte(env), &s)
	d := &diskServer{RawFileSystem: fuse.NewDefaultRawFileSystem(), size: s.Size, durable: os.NewFile(3, "durable"), told: os.NewFile(4, "pending")}
	if err == nil {
		d.now, err = unlinked(s.Place, s.Size)
	}
	if err != nil {
		out.Encode(diskAnswer{Broken: err.Error()})
		return true
	}
	server, err := fuse.NewServer(d, s.Dir, &fuse.MountOptions{
		DirectMountStrict: true, FsName: "iopath-voldisk", Name: "voldisk", DisableXAttrs: true, MaxWrite: 1 << 20,
	})
	if err != nil {
		out.Encode(diskAnswer{Absent: err.Error()})
		return true
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		out.Encode(diskAnswer{Broken: err.Error()})
		return true
	}
	out.Encode(diskAnswer{})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		out.Encode(d.answer(in.Text()))
	}
	return true
}

// answer does as it is told: see pause.
func (d *diskServer) answer(order string) diskAnswer {
	if order != "resume" { // which has been locked by what it resumes from
		d.mu.Lock()
	}
	if order == "pause" && d.err == nil {
		d.err = d.tellPending()
	}
	a := diskAnswer{Written: d.written, Flushes: d.flushes}
	if d.err != nil {
		a.Broken = d.err.Error()
	}
	if order != "pause" {
		d.mu.Unlock()
	}
	return a
}

// tellPending writes what is pending where the client reads it.
func (d *diskServer) tellPending() error {
	f := d.told
	if err := f.Truncate(0); err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(f, 0), 1<<20)
	for _, e := range d.pending {
		var head [12]byte
		binary.LittleEndian.PutUint64(head[:], uint64(e.at))
		binary.LittleEndian.PutUint32(head[8:], uint32(len(e.data)))
		out.Write(head[:])
		out.Write(e.data) // the first error is Flush's
	}
	return out.Flush()
}

func (d *diskServer) attr(node uint64, out *fuse.Attr) bool {
	out.Ino = node
	switch node {
	case rootNode:
		out.Mode, out.Nlink = fuse.S_IFDIR|0o700, 2
	case diskNode:
		out.Mode, out.Nlink, out.Size, out.Blocks, out.Blksize = fuse.S_IFREG|0o600, 1, uint64(d.size), uint64(d.size)/sector, 4096
	default:
		return false
	}
	return true
}

func (d *diskServer) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if header.NodeId != rootNode || name != diskName {
		return fuse.ENOENT
	}
	out.NodeId = diskNode
	out.SetEntryTimeout(time.Hour)
	out.SetAttrTimeout(time.Hour)
	d.attr(diskNode, &out.Attr)
	return fuse.OK
}

func (d *diskServer) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(time.Hour)
	if !d.attr(in.NodeId, &out.Attr) {
		return fuse.ENOENT
	}
	return fuse.OK
}

// SetAttr accepts times, and nothing else.
func (d *diskServer) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.Valid&fuse.FATTR_SIZE != 0 {
		return fuse.EPERM
	}
	d.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

// Open passes the page cache by: what the loop device writes is written to us at once.
func (d *diskServer) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (d *diskServer) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.now.ReadAt(buf[:in.Size], int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, d.fail(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (d *diskServer) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.now.WriteAt(data, int64(in.Offset)); err != nil {
		return 0, d.fail(err)
	}
	d.pending = append(d.pending, extent{int64(in.Offset), slices.Clone(data)})
	d.written += int64(len(data))
	return uint32(len(data)), fuse.OK
}

// Fsync is the flush of the disk's cache.
func (d *diskServer) Fsync(_ <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.pending {
		if _, err := d.durable.WriteAt(e.data, e.at); err != nil {
			return d.fail(err)
		}
	}
	d.pending = nil
	d.flushes++
	return fuse.OK
}

func (d *diskServer) Access(_ <-chan struct{}, _ *fuse.AccessIn) fuse.Status { return fuse.OK }

func (d *diskServer) fail(err error) fuse.Status {
	if d.err == nil {
		d.err = fmt.Errorf("the voldisk's own files: %w", err)
	}
	return fuse.EIO
}

func (d *diskServer) String() string { return "voldisk" }
