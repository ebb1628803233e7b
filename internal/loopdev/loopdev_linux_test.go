package loopdev

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAttach(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	d, err := Attach(file)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev, err := os.OpenFile(d.Path(), os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	_, err = dev.WriteAt([]byte("through"), 4096)
	if closed := dev.Close(); err == nil {
		err = closed
	}
	if closed := d.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := file.ReadAt(got, 4096); err != nil || string(got) != "through" {
		t.Errorf("behind the device: %q, %v; want what was written to it", got, err)
	}
	// It detaches itself.
	backing := filepath.Join("/sys/block", filepath.Base(d.Path()), "loop/backing_file")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if name, err := os.ReadFile(backing); err != nil || string(name) != file.Name()+"\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still attached", d.Path())
		}
	}
}
