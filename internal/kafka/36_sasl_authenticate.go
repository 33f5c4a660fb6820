package kafka

import "fmt"

// SaslAuthenticate, versions 0–2. Authentication is not configured, so that no handshake can have come before.

func (c *conn) saslAuthenticate(f *frame) error {
	d := decoder{rest: f.body, flexible: f.version >= f.api.flexible}
	d.nullableBytes()
	d.skipTags()
	if !d.done() {
		return fmt.Errorf("%w: SaslAuthenticate version %d", ErrMalformed, f.version)
	}
	e := encoder{flexible: d.flexible}
	e.int16(illegalSaslState)
	e.nullableStr("authentication is not configured on this broker")
	e.array(0) // bytes
	if f.version >= 1 {
		e.int64(0) // session lifetime
	}
	e.noTags()
	c.send(f, e.buf)
	return nil
}
