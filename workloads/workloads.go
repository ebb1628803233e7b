// Package workloads chooses which bytes, in which order, and what is done with
// them. It makes no system call.
//
// A workload is an [iomethod.Plan]: [Sequential], [Random] or [Sparse]. What every
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

// SparseShare is the inverse of the share of the file that a sparse job reads.
const SparseShare = 16

// Sparse is the first part of the job that [Random] is: one piece in SparseShare,
// and at least one. What readahead brings in beyond them was not asked for.
func Sparse(size int64, block int, seed uint64) (*iomethod.Plan, error) {
	p, err := Random(size, block, seed)
	if err == nil && len(p.Order) > 0 {
		p.Order = p.Order[:max(1, len(p.Order)/SparseShare)]
	}
	return p, err
}

// Head returns the plan's first n pieces as a plan, in its order, or the plan
// itself where it has no more.
func Head(p *iomethod.Plan, n int) *iomethod.Plan {
	if n >= p.Pieces() {
		return p
	}
	head := *p
	if p.Order != nil {
		head.Order = p.Order[:n]
	} else {
		head.Length = int64(n) * int64(p.Block)
	}
	return &head
}

// Patterns names the orders that a read can take: all of the file in order, all
// of it in random order, or a random part of it.
var Patterns = []string{"seq", "rand", "sparse"}

// NewPlan returns the plan of the pattern of that name. The order of a random
// one is the same in every process, so that rounds and runs repeat each other.
func NewPlan(pattern string, size int64, block int) (*iomethod.Plan, error) {
	switch pattern {
	case "seq":
		return Sequential(size, block), nil
	case "rand":
		return Random(size, block, 1)
	case "sparse":
		return Sparse(size, block, 1)
	}
	return nil, fmt.Errorf("pattern %q is unknown (known: %v)", pattern, Patterns)
}
