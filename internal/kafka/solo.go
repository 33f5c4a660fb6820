package kafka

// solo tells whether a client sends one Produce request and waits for its answer before it sends the next. The reader of
// its connection, which then has nothing else to do, commits the request itself and writes the answer: that spares two
// wake-ups of sleeping threads, which here cost about as much as a quarter of a sync. A client that sends ahead would be
// slowed down by that, since nothing of it is read during the sync: its requests are left to the journal's goroutine.
type solo struct {
	ahead int // requests to go until we look again
}

// lookAgain is how many requests of a client that sends ahead are taken for more of the same.
const lookAgain = 64

// leads says whether the reader commits the next request.
func (s *solo) leads(c *conn) bool {
	if s.ahead > 0 {
		s.ahead--
		return false
	}
	if !c.out.empty() || c.in.Buffered() > 0 {
		s.ahead = lookAgain
		return false
	}
	return true
}

// led notes whether there was another request when the reader had committed one.
func (s *solo) led(ahead bool) {
	if ahead {
		s.ahead = lookAgain
	}
}

// isAhead says whether the client has sent something that is not read yet. Of connections that can't tell, TLS for one, it
// is assumed. Only the reader may ask.
func (c *conn) isAhead() bool {
	if c.in.Buffered() > 0 {
		return true
	}
	if nc, ok := c.net.(interface{ Buffered() int }); ok { // internal/pipe
		return nc.Buffered() > 0
	}
	return c.peek.hasInput()
}
