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
	// Order holds each index of a piece once; nil is ascending order.
	Order []uint32
}

// Pieces returns how many pieces the plan has.
func (p *Plan) Pieces() int {
	return int((p.Length + int64(p.Block) - 1) / int64(p.Block))
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
