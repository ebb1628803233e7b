//go:build !linux

package bench

func channelChild() (bool, error) { return false, nil }

func (s *Session) channelTask(Cell) (*task, error) { return nil, errOther }
