package iomethod

import "os"

func init() {
	Register(Method{
		Name:    "ring.memfd",
		Doc:     "copy into a ring in a memfd that both processes have mapped, hand out the ring itself: one copy, and futex(2) only to sleep and to wake",
		Channel: Role[Channel]{Sometimes: []string{"futex"}, New: newMemfdRing},
	})
}

func newMemfdRing(c Config) (Channel, error) {
	return newRingChannel(c, func(Config) (*os.File, error) { return newMemfd() })
}
