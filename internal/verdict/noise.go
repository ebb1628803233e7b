package verdict

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"iopath/internal/summary"
)

// What others may do to the machine meanwhile: beyond it, times say nothing. The names
// are those of a run's "# noise:" line.
var limits = []struct {
	name  string
	share float64
	what  string
}{
	// Interleaving averages steal out; this much of it changes what a pair is worth.
	{"steal", 0.05, "of the CPUs' time was stolen"},
	// Our own processes wait for one another in a tenth of the time; beside one busy
	// loop for each CPU it was 64 %.
	{"psi-cpu", 0.30, "of the time some task waited for a CPU"},
	{"psi-io", 0.50, "of the time some task waited for a disk"},
	{"psi-memory", 0.05, "of the time some task waited for memory"},
}

var share = regexp.MustCompile(`([a-z-]+)=([0-9.]+)%`)

// disturbances says what the "# noise:" lines of a file tell of others.
func disturbances(results *summary.Results) (doubts []string) {
	for _, line := range results.Noise {
		line, _, _ = strings.Cut(line, ";")
		for _, m := range share.FindAllStringSubmatch(line, -1) {
			v, err := strconv.ParseFloat(m[2], 64)
			for _, l := range limits {
				if err == nil && m[1] == l.name && v > 100*l.share {
					doubts = append(doubts, fmt.Sprintf("%s %% %s", m[2], l.what))
				}
			}
		}
	}
	return doubts
}
