package iomethod

type spliceRelay struct {
	pipe     splicePipe
	from, to int
}

func newSpliceRelay(c Config) (Relay, error)      { return openSpliceRelay(c, 0) }
func newLargeSpliceRelay(c Config) (Relay, error) { return openSpliceRelay(c, largePipe) }

func openSpliceRelay(c Config, pipeSize int) (Relay, error) {
	pipe, err := openSplicePipe(pipeSize)
	if err != nil {
		return nil, err
	}
	return &spliceRelay{pipe, c.From, c.Socket}, nil
}

func (r *spliceRelay) Relay(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		_, n := p.Piece(i)
		for n > 0 {
			filled, err := r.pipe.fill(r.from, n)
			if err != nil {
				return err
			}
			n -= filled
			// As if these were the last, or the kernel would hold them back until
			// more come: a relay cannot know when that will be.
			if err := r.pipe.drain(r.to, filled, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *spliceRelay) Close() error {
	r.pipe.close()
	return nil
}
