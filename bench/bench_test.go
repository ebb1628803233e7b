package bench

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func BenchmarkRead(b *testing.B)    { Run(b) }
func BenchmarkSend(b *testing.B)    { Run(b) }
func BenchmarkCeiling(b *testing.B) { Run(b) }
func BenchmarkDevice(b *testing.B)  { Run(b) }
func BenchmarkFloor(b *testing.B)   { Run(b) }
