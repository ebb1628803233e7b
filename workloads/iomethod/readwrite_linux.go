package iomethod

func init() {
	Register(Method{
		Name:     "read+write",
		Doc:      "read(2) a file or a socket into one buffer, write(2) it to a socket or a file: two copies and two calls a piece",
		Sender:   Role[Sender]{Calls: []string{"read", "write"}, New: newReadWriteSender},
		Copier:   Role[Copier]{Calls: []string{"read", "write"}, New: newReadWriteCopier},
		Receiver: Role[Receiver]{Calls: []string{"read", "write"}, New: newReadWriteReceiver},
		Relay:    Role[Relay]{Calls: []string{"read", "write"}, New: newReadWriteRelay},
	})
}

type readWriteSender struct {
	read   *readReader
	socket int
}

func newReadWriteSender(c Config) (Sender, error) {
	r, err := openReadReader(c)
	if err != nil {
		return nil, err
	}
	return &readWriteSender{r, c.Socket}, nil
}

func (s *readWriteSender) Send(p *Plan) error {
	s.read.at = -1
	for i := range p.Pieces() {
		p.Await(i)
		off, n := p.Piece(i)
		b, err := s.read.piece(off, n)
		if err != nil {
			return err
		}
		if err := writeAll(s.socket, b); err != nil {
			return err
		}
	}
	return nil
}

func (s *readWriteSender) Close() error { return s.read.Close() }
