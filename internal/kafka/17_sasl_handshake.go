package kafka

import "fmt"

// SaslHandshake (API key 17), versions 0–1. It is decoded by hand, because clients send it before they are
// authenticated.
//
// Deviations from Apache Kafka: authentication cannot be configured, so that every request is answered with
// UNSUPPORTED_SASL_MECHANISM and an empty list of mechanisms.

// saslHandshake refuses every mechanism. It returns an error, which must end the connection, for a malformed request.
func (c *conn) saslHandshake(f *frame) error {
	d := requestDecoder{rest: f.body}
	d.str() // mechanism
	if !d.ok() {
		return fmt.Errorf("%w: SaslHandshake version %d", ErrMalformed, f.version)
	}
	var e responseEncoder
	e.int16(unsupportedSaslMechanism)
	e.array(0) // mechanisms
	c.send(f, e.buf)
	return nil
}
