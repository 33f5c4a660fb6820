package kafka

import "fmt"

// SaslAuthenticate (API key 36), versions 0–2. It is decoded by hand, because clients send it before they are
// authenticated.
//
// Deviations from Apache Kafka: authentication cannot be configured and every SaslHandshake fails, so that every
// request is answered with ILLEGAL_SASL_STATE.

// saslAuthenticate refuses every request. It returns an error, which must end the connection, for a malformed request.
func (c *conn) saslAuthenticate(f *frame) error {
	d := requestDecoder{rest: f.body, flexible: f.version >= f.api.flexible}
	d.nullableBytes()
	d.skipTags()
	if !d.ok() {
		return fmt.Errorf("%w: SaslAuthenticate version %d", ErrMalformed, f.version)
	}
	e := responseEncoder{flexible: d.flexible}
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
