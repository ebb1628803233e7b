//go:build iopath_slow

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"iopath/internal/counters"
)

// SlowEnv names the environment variable by which a binary with the build tag
// iopath_slow makes one method worse, so that iopath regress -self-test has something
// to find: "pread=10%" spins after each job for a tenth of its time, "pread=1syscall"
// makes one empty system call more in each.
const SlowEnv = "IOPATH_SLOW"

// slowed makes a job worse as the environment says.
func slowed(c Cell, j counters.Job) counters.Job {
	method, what, ok := strings.Cut(os.Getenv(SlowEnv), "=")
	if !ok || method != c.Method {
		return j
	}
	move := j.Move
	if what == "1syscall" {
		j.Move = func() error {
			syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
			return move()
		}
		return j
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(what, "%"), 64)
	if err != nil || !strings.HasSuffix(what, "%") {
		j.Move = func() error {
			return fmt.Errorf("%s: %q is neither a share (10%%) nor 1syscall", SlowEnv, what)
		}
		return j
	}
	j.Move = func() error {
		began := time.Now()
		err := move()
		until := time.Duration(float64(time.Since(began)) * (1 + percent/100))
		for time.Since(began) < until {
		}
		return err
	}
	return j
}
