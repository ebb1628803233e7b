package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iopath/internal/datafile"
	"iopath/workloads"
)

func reference(t *testing.T, size int64) workloads.Digest {
	t.Helper()
	d, err := workloads.Reference("sum", workloads.Sequential(size, Block), datafile.Content(size))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func content(t *testing.T, size int64) []byte {
	t.Helper()
	b := make([]byte, size)
	if n, err := datafile.Content(size).ReadAt(b, 0); int64(n) != size {
		t.Fatal(n, err)
	}
	return b
}

// available are the transports that this user may have.
func available(t *testing.T) (all []string) {
	t.Helper()
	for _, transport := range Transports {
		switch err := Available(transport); {
		case err == nil:
			all = append(all, transport)
		case transport != "veth" || !errors.Is(err, errors.ErrUnsupported):
			t.Fatal(err)
		default:
			t.Log(err)
		}
	}
	return all
}

func write(t *testing.T, fd int, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

func TestReceiver(t *testing.T) {
	for _, transport := range available(t) {
		for _, size := range []int64{0, 1, Block - 1, Block, 5*Block + 3} {
			r, err := Start(transport, "sum", -1)
			if err != nil {
				t.Fatal(err)
			}
			want := reference(t, size)
			for job := range 3 {
				if err := r.Begin(size); err != nil {
					t.Fatal(err)
				}
				write(t, r.Socket(), content(t, size))
				got, err := r.Finish()
				if err != nil {
					t.Fatal(err)
				}
				if err := workloads.Verify(got.Digest, want); err != nil {
					t.Errorf("%s, %d bytes, job %d: %v", transport, size, job, err)
				}
				if size > Block && got.CPU <= 0 {
					t.Errorf("%s, %d bytes: receiver's CPU time = %v, want more than 0", transport, size, got.CPU)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The trap: bytes that are lost or changed on the way must be seen.
func TestReceiverSeesDamage(t *testing.T) {
	const size = 3 * Block
	damage := map[string]func([]byte) []byte{
		"one bit flipped": func(b []byte) []byte { b[Block+5] ^= 1; return b },
		"blocks swapped":  func(b []byte) []byte { return append(append(b[Block:2*Block:2*Block], b[:Block]...), b[2*Block:]...) },
		"a block doubled": func(b []byte) []byte { copy(b[Block:], b[:Block]); return b },
		"words swapped within a block": func(b []byte) []byte {
			var word [8]byte
			copy(word[:], b)
			copy(b, b[8:16])
			copy(b[8:], word[:])
			return b
		},
	}
	for name, change := range damage {
		r, err := Start("unix", "sum", -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(size); err != nil {
			t.Fatal(err)
		}
		write(t, r.Socket(), change(content(t, size)))
		got, err := r.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := workloads.Verify(got.Digest, reference(t, size)); !errors.Is(err, workloads.ErrVerification) {
			t.Errorf("%s: Verify = %v, want ErrVerification", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPairBlocks(t *testing.T) {
	for _, transport := range available(t) {
		a, b, err := Pair(transport)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []*os.File{a, b} {
			flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("%s: flags %#x, %v; want a socket that blocks", transport, flags, err)
			}
			f.Close()
		}
	}
	if _, _, err := Pair("carrier-pigeon"); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Pair of an unknown transport: %v, want an error that is no lack of this machine", err)
	}
}

func TestReceiverSeesLoss(t *testing.T) {
	const size = 2 * Block
	r, err := Start("tcp", "sum", -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(size); err != nil {
		t.Fatal(err)
	}
	write(t, r.Socket(), content(t, size-4097))
	if err := unix.Shutdown(r.Socket(), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	got, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := workloads.Verify(got.Digest, reference(t, size)); !errors.Is(err, workloads.ErrVerification) {
		t.Errorf("4097 bytes short: Verify = %v, want ErrVerification", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The trap: a sender that says it is done and has sent too little.
func TestReceiverDoesNotWaitForEver(t *testing.T) {
	const size = 2 * Block
	for _, transport := range []string{"tcp", "unix"} {
		r, err := Start(transport, "sum", -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(size); err != nil {
			t.Fatal(err)
		}
		write(t, r.Socket(), content(t, size-1))
		got, err := r.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := workloads.Verify(got.Digest, reference(t, size)); !errors.Is(err, workloads.ErrVerification) {
			t.Errorf("%s, one byte short: Verify = %v, want ErrVerification", transport, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiverSkips(t *testing.T) {
	const skip, size = Block + 17, 2*Block + 5
	r, err := Start("tcp", "sum", -1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.BeginAfter(skip, size); err != nil {
			t.Fatal(err)
		}
		write(t, r.Socket(), make([]byte, skip))
		write(t, r.Socket(), content(t, size))
		got, err := r.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := workloads.Verify(got.Digest, reference(t, size)); err != nil {
			t.Error(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestSinks(t *testing.T) {
	const size = 5*Block + 3
	for _, transport := range available(t) {
		for _, sink := range Sinks {
			if Sums(sink) {
				t.Errorf("Sums(%q) = true, want false", sink)
			}
			dir := t.TempDir()
			r, err := StartIn(dir, transport, sink, -1)
			if takes := Takes(transport, sink); takes != nil {
				if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(takes, errors.ErrUnsupported) {
					t.Errorf("%s, %s: %v, and Takes = %v; want both to match ErrUnsupported", transport, sink, err, takes)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for job := range 3 {
				if err := r.BeginAfter(3, size); err != nil {
					t.Fatal(err)
				}
				write(t, r.Socket(), []byte("abc"))
				write(t, r.Socket(), content(t, size))
				got, err := r.Finish()
				if err != nil {
					t.Fatal(err)
				}
				if want := (workloads.Digest{Bytes: size}); got.Digest != want || got.CPU <= 0 {
					t.Errorf("%s, %s, job %d: %+v, want %d bytes, no sum, some CPU time", transport, sink, job, got, size)
				}
				if sink == "splice" {
					verifySpliced(t, r, content(t, size))
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s leaves %v, %v, want nothing", sink, left, err)
			}
		}
	}
	if err := Takes("unix", "trunc"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Takes(unix, trunc) = %v, want an error that matches ErrUnsupported", err)
	}
	if err := Takes("tcp", "eat"); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Takes of what is unknown = %v, want an error that is no lack of this machine", err)
	}
	if !Sums("sum") || !Sums("touch") {
		t.Error("Sums of a consumer = false, want true")
	}
}

// verifySpliced reads the child's file back.
func verifySpliced(t *testing.T, r *Receiver, want []byte) {
	t.Helper()
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/fd/%d", r.cmd.Process.Pid, fileFD))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the sink's file has %d bytes, or others than were sent, want %d", len(got), len(want))
	}
}

func TestSource(t *testing.T) {
	for _, transport := range available(t) {
		s, err := StartSource(transport, -1)
		if err != nil {
			t.Fatal(err)
		}
		same := workloads.NewSource(8 * Block)
		for job, size := range []int64{5*Block + 3, 0, 1, Block, 5*Block + 3} {
			const off = 12345
			if err := s.Begin(off, size); err != nil {
				t.Fatal(err)
			}
			same.Next()
			got := make([]byte, size)
			if _, err := io.ReadFull(s.data, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, same.Produce(off, int(size))) {
				t.Errorf("%s, job %d: other bytes than those of the job", transport, job)
			}
			report, err := s.Finish()
			if want := (workloads.Digest{Bytes: size}); err != nil || report.Digest != want {
				t.Errorf("%s, job %d: %+v, %v, want %d bytes", transport, job, report, err, size)
			}
			if size > Block && report.CPU <= 0 {
				t.Errorf("%s, job %d: source's CPU time = %v, want more than 0", transport, job, report.CPU)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A job that failed leaves the source with bytes that nobody wants.
func TestSourceEndsWithItsReader(t *testing.T) {
	for _, transport := range available(t) {
		s, err := StartSource(transport, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(0, 1<<30); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s.data, make([]byte, Block)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

// The trap: a receiver that says it is done and has taken too little.
func TestSourceDoesNotWaitForEver(t *testing.T) {
	s, err := StartSource("unix", -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	if report, err := s.Finish(); err == nil {
		t.Errorf("Finish of a source that nobody reads = %+v, want an error", report)
	}
	if err := s.Close(); err == nil {
		t.Error("Close of a source that was ended: no error, want one")
	}
}
