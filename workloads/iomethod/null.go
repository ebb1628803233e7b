package iomethod

func init() {
	Register(Method{
		Name:   "null",
		Doc:    "moves nothing: walks the plan with empty pieces, and shows the harness's own cost",
		Idle:   true,
		Reader: Role[Reader]{New: func(Config) (Reader, error) { return &null{}, nil }},
		Writer: Role[Writer]{New: func(Config) (Writer, error) { return &null{}, nil }},
		Sender: Role[Sender]{New: func(Config) (Sender, error) { return &null{}, nil }},
		Copier: Role[Copier]{New: func(Config) (Copier, error) { return &null{}, nil }},
	})
}

type null struct{ offsets int64 }

func (*null) Read(p *Plan, consume Consumer) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, _ := p.Piece(i)
		consume(off, nil)
	}
	return nil
}

func (s *null) Write(p *Plan, _ Producer) error { return s.walk(p) }
func (s *null) Send(p *Plan) error              { return s.walk(p) }
func (s *null) Copy(p *Plan) error              { return s.walk(p) }

func (s *null) walk(p *Plan) error {
	for i := range p.Pieces() {
		p.Await(i)
		off, _ := p.Piece(i)
		s.offsets += off // used, so that the walk is not optimised away
	}
	return nil
}

func (*null) Close() error { return nil }
