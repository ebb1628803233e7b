package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"iopath/internal/datafile"
	"iopath/workloads"
)

// The loops in C that scripts/crosscheck.sh compares with feed the same consumer:
// they come to the same digest.
func TestCLoopsFeedTheSameConsumer(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("cc is not installed")
	}
	if out, err := exec.Command("sh", "-c", "echo '#include <xxhash.h>' | cc -E -").CombinedOutput(); err != nil {
		t.Skipf("xxhash.h (libxxhash-dev) is not installed: %.80s", out)
	}
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if out, err := exec.Command("cc", "-O2", "-o", loop, "../scripts/loop.c").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	const size = 1<<20 + 123
	content := datafile.Content(size)
	b := make([]byte, size)
	content.ReadAt(b, 0)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, consumer := range []string{"sum", "touch"} {
		for _, block := range []int{1000, 4 << 10, 64 << 10} {
			want, err := workloads.Reference(consumer, workloads.Sequential(size, block), content)
			if err != nil {
				t.Fatal(err)
			}
			for _, how := range [][]string{{"pread", "seq"}, {"pread", "rand"}, {"mmap", "seq"}, {"mmap", "rand"}} {
				out, err := exec.Command(loop, how[0], how[1], file, fmt.Sprint(block), consumer, "1").Output()
				if err != nil {
					t.Fatal(err)
				}
				if _, got, _ := strings.Cut(strings.TrimSpace(string(out)), " "); got != fmt.Sprintf("%016x", want.Sum) {
					t.Errorf("%v consume=%s block=%d: the loop in C came to %s, want %016x", how, consumer, block, got, want.Sum)
				}
			}
		}
	}
}
