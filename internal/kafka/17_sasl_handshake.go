package kafka

import "fmt"

// SaslHandshake, versions 0–1. Authentication is not configured: no mechanism is offered, and a client that wants one
// is told so.

func (c *conn) saslHandshake(f *frame) error {
	d := decoder{rest: f.body}
	d.str() // mechanism
	if !d.done() {
		return fmt.Errorf("%w: SaslHandshake version %d", ErrMalformed, f.version)
	}
	var e encoder
	e.int16(unsupportedSaslMechanism)
	e.array(0) // mechanisms
	c.send(f, e.buf)
	return nil
}
