// Package workloads chooses which bytes, in which order, and what is done with
// them. It makes no system call.
//
// A workload is an [iomethod.Plan]: [Sequential] or [Random]. What every
// method of a workload feeds is one [Consumer]; what the consumer must have
// found at the end of a job is computed beforehand by [Reference], from the
// content that the file was made from and not from the file, so that each job
// verifies the method and the file alike.
package workloads

import (
	"fmt"
	"math"
	"math/rand/v2"

	"iopath/workloads/iomethod"
)

// Sequential is a job over the first size bytes, in ascending order, in pieces
// of block bytes.
func Sequential(size int64, block int) *iomethod.Plan {
	return &iomethod.Plan{Length: size, Block: block}
}

// Random is a job over the same pieces as [Sequential], each once, in an order
// that depends on the seed alone. It fails where there are more pieces than 32
// bits can number.
func Random(size int64, block int, seed uint64) (*iomethod.Plan, error) {
	p := Sequential(size, block)
	if int64(p.Pieces()) > math.MaxUint32 {
		return nil, fmt.Errorf("shuffle a file of %d bytes in blocks of %d: more than %d pieces (take a larger block)", size, block, uint32(math.MaxUint32))
	}
	p.Order = make([]uint32, p.Pieces())
	for i := range p.Order {
		p.Order[i] = uint32(i)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(size)))
	rng.Shuffle(len(p.Order), func(i, j int) { p.Order[i], p.Order[j] = p.Order[j], p.Order[i] })
	return p, nil
}

// Patterns names the orders that a read can take.
var Patterns = []string{"seq", "rand"}

// NewPlan returns the plan of the pattern of that name. The order of a random
// one is the same in every process, so that rounds and runs repeat each other.
func NewPlan(pattern string, size int64, block int) (*iomethod.Plan, error) {
	switch pattern {
	case "seq":
		return Sequential(size, block), nil
	case "rand":
		return Random(size, block, 1)
	}
	return nil, fmt.Errorf("pattern %q is unknown (known: %v)", pattern, Patterns)
}
