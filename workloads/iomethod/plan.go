package iomethod

// A Plan is one job: the stretch of a file that it moves, cut into pieces, and
// the order of the pieces. Methods see the whole of it before they start, so
// that one which keeps several requests in flight can look ahead.
//
// A Plan is not changed by those who read it and may be shared.
type Plan struct {
	// Start is the file offset of the first byte, Length the bytes of the job.
	Start, Length int64
	// Block is the size of a piece in bytes; the last piece of the stretch may
	// be shorter.
	Block int
	// Order holds the indices of the pieces to move, some perhaps more than once;
	// nil is all of them in ascending order.
	Order []uint32
	// Pace, where it is not nil, is called by [Plan.Await].
	Pace func(i int)
}

// Pieces returns how many pieces the job moves.
func (p *Plan) Pieces() int {
	if p.Order != nil {
		return len(p.Order)
	}
	return int((p.Length + int64(p.Block) - 1) / int64(p.Block))
}

// Await is called by a method right before it asks for the i-th piece. Jobs whose
// pieces are timed, or asked for at a given rate, are held here until the piece
// is due; others go on at once. (It is not a part of Piece, because with it that
// would be too long for the compiler to inline, and a call so soon after a system
// call costs 8 ns.)
func (p *Plan) Await(i int) {
	if p.Pace != nil {
		p.Pace(i)
	}
}

// Bytes returns how many bytes the job moves.
func (p *Plan) Bytes() int64 {
	if p.Order == nil {
		return p.Length
	}
	var total int64
	for i := range p.Pieces() {
		_, n := p.Piece(i)
		total += int64(n)
	}
	return total
}

// Piece returns the file offset and the length in bytes of the i-th piece, in
// the plan's order.
func (p *Plan) Piece(i int) (off int64, n int) {
	if p.Order != nil {
		i = int(p.Order[i])
	}
	rel := int64(i) * int64(p.Block)
	if rest := p.Length - rel; rest < int64(p.Block) {
		return p.Start + rel, int(rest)
	}
	return p.Start + rel, p.Block
}
