package bench

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func BenchmarkRead(b *testing.B)     { Run(b) }
func BenchmarkWrite(b *testing.B)    { Run(b) }
func BenchmarkSend(b *testing.B)     { Run(b) }
func BenchmarkReceive(b *testing.B)  { Run(b) }
func BenchmarkRelay(b *testing.B)    { Run(b) }
func BenchmarkCopy(b *testing.B)     { Run(b) }
func BenchmarkChannel(b *testing.B)  { Run(b) }
func BenchmarkMap(b *testing.B)      { Run(b) }
func BenchmarkOpen(b *testing.B)     { Run(b) }
func BenchmarkParallel(b *testing.B) { Run(b) }
func BenchmarkCeiling(b *testing.B)  { Run(b) }
func BenchmarkDevice(b *testing.B)   { Run(b) }
func BenchmarkFloor(b *testing.B)    { Run(b) }
