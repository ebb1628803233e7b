package mmapgo

import (
	"os"
	"testing"

	"iopath/bench"
	"iopath/workloads/iomethod"
	"iopath/workloads/iomethod/iomethodtest"
)

// These five lines are all that it takes:
//
//	go test                                              conformance
//	go test -run '^$' -bench Read -methods mmapgo,mmap   cells, with their counts
//	iopath table FILE, iopath plot FILE                  tables and charts of the output

func TestMain(m *testing.M) { os.Exit(bench.Main(m)) }

func TestConformance(t *testing.T) {
	m, _ := iomethod.Lookup("mmapgo")
	iomethodtest.Method(t, m)
}

func BenchmarkRead(b *testing.B)     { bench.Run(b) }
func BenchmarkParallel(b *testing.B) { bench.Run(b) }
func BenchmarkCeiling(b *testing.B)  { bench.Run(b) }
