package iomethod

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The trap: a pipe that is not as large as its method's name says.
func TestSplicePipe(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/fs/pipe-max-size")
	if err != nil {
		t.Skip(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{os.Getpagesize(), largePipe, 2 * most} {
		p, err := openSplicePipe(want)
		switch {
		case err == nil && p.size < want:
			t.Errorf("openSplicePipe(%d) = a pipe of %d bytes, want as many or more", want, p.size)
		case err != nil && !(want > most && errors.Is(err, errors.ErrUnsupported)):
			t.Errorf("openSplicePipe(%d) = %v, want none up to pipe-max-size, ErrUnsupported beyond it", want, err)
		}
		if err == nil {
			p.close()
		}
	}
}
