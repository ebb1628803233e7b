package peer

import (
	"errors"
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
	for _, transport := range Transports {
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
	for _, transport := range Transports {
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
	if _, _, err := Pair("carrier-pigeon"); err == nil {
		t.Error("Pair of an unknown transport: no error")
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
	for _, transport := range Transports {
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
