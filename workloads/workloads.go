// Package workloads chooses which bytes, in which order, and what is done with
// them. It makes no system call.
//
// A workload is an [iomethod.Plan], made by [NewPlan]. What every
// method of a workload feeds is one [Consumer]; what the consumer must have
// found at the end of a job is computed beforehand by [Reference], from the
// content that the file was made from and not from the file, so that each job
// verifies the method and the file alike.
package workloads

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

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
	p, err := numbered(size, block)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, uint64(size)))
	rng.Shuffle(len(p.Order), func(i, j int) { p.Order[i], p.Order[j] = p.Order[j], p.Order[i] })
	return p, nil
}

// numbered is what [Sequential] is, with its order written out.
func numbered(size int64, block int) (*iomethod.Plan, error) {
	p := Sequential(size, block)
	if int64(p.Pieces()) > math.MaxUint32 {
		return nil, fmt.Errorf("number the pieces of a file of %d bytes in blocks of %d: more than %d (take a larger block)", size, block, uint32(math.MaxUint32))
	}
	p.Order = make([]uint32, p.Pieces())
	for i := range p.Order {
		p.Order[i] = uint32(i)
	}
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

// strideBy is how many pieces a strided job goes on from one to the next.
const strideBy = 16

// Strided is a job over all pieces, each once: every strideBy-th of them, then the
// ones behind those, and so on, as a matrix is read by its columns.
func Strided(size int64, block int) (*iomethod.Plan, error) {
	p, err := numbered(size, block)
	if err != nil {
		return nil, err
	}
	k := 0
	for first := range strideBy {
		for i := first; i < len(p.Order); i += strideBy {
			p.Order[k] = uint32(i)
			k++
		}
	}
	return p, nil
}

// Reverse is a job over all pieces from the last to the first.
func Reverse(size int64, block int) (*iomethod.Plan, error) {
	p, err := numbered(size, block)
	if err == nil {
		slices.Reverse(p.Order)
	}
	return p, err
}

// The skew of a zipfian job, as YCSB has it (B. Cooper et al., SoCC 2010):
// rand.Zipf draws k with probability proportional to (1+k)^-zipfSkew, and wants
// more than 1.
const zipfSkew = 1.01

// Zipfian is a job of as many pieces as the file has, drawn with replacement: a few
// of them often, most of them seldom or never. Which ones are the frequent ones
// depends on the seed, so that they do not lie side by side.
func Zipfian(size int64, block int, seed uint64) (*iomethod.Plan, error) {
	p, err := Random(size, block, seed)
	if err != nil || len(p.Order) < 2 {
		return p, err
	}
	ranks := p.Order
	p.Order = make([]uint32, len(ranks))
	zipf := rand.NewZipf(rand.New(rand.NewPCG(seed, ^uint64(size))), zipfSkew, 1, uint64(len(ranks)-1))
	for i := range p.Order {
		p.Order[i] = ranks[zipf.Uint64()]
	}
	return p, nil
}

// Patterns names the orders that a job can take: all of the file in order, all of
// it in random order, a random part of it, all of it by strides, all of it
// backwards, or pieces of it by Zipf's law.
var Patterns = []string{"seq", "rand", "sparse", "stride", "reverse", "zipf"}

// Once reports whether a job of the pattern moves each byte of the file once.
func Once(pattern string) bool { return pattern != "sparse" && pattern != "zipf" }

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
	case "stride":
		return Strided(size, block)
	case "reverse":
		return Reverse(size, block)
	case "zipf":
		return Zipfian(size, block, 1)
	}
	return nil, fmt.Errorf("pattern %q is unknown (known: %v)", pattern, Patterns)
}
