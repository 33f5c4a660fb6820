package kafka

// inlineCommit decides whether the reader of a connection commits a Produce request inline: the reader itself writes
// and syncs the journal, and then writes the response (docs/adr/0009). If the client waits for each response before it
// sends the next request, the reader is idle meanwhile, and committing inline saves two wake-ups of sleeping threads,
// about a quarter of the time of a sync on the reference machine. If the client pipelines requests, an inline commit
// would delay reading the next ones, so the journal's committing goroutine commits them.
//
// Only the reader of the connection uses its inlineCommit. The zero value is ready to use.
type inlineCommit struct {
	// number of Produce requests still to be committed by the journal's goroutine before allowed looks at the client
	// again
	skip int
}

// recheckAfter is the number of Produce requests that the journal's goroutine commits after a client was found to
// pipeline, before allowed looks at the client again.
const recheckAfter = 64

// allowed reports whether the reader should commit inline the request that it has just read: no earlier response waits,
// and no later request is in the read buffer.
func (i *inlineCommit) allowed(c *conn) bool {
	if i.skip > 0 {
		i.skip--
		return false
	}
	if !c.responses.empty() || c.in.Buffered() > 0 {
		i.skip = recheckAfter
		return false
	}
	return true
}

// committed must be called after an inline commit. pipelined reports whether the client had sent another request by
// then.
func (i *inlineCommit) committed(pipelined bool) {
	if pipelined {
		i.skip = recheckAfter
	}
}

// hasPipelinedRequest reports whether the client has sent bytes that the reader has not read yet. It returns true if
// that cannot be determined, as with TLS. Only the reader may call it.
func (c *conn) hasPipelinedRequest() bool {
	if c.in.Buffered() > 0 {
		return true
	}
	if nc, ok := c.net.(interface{ Buffered() int }); ok { // internal/pipe
		return nc.Buffered() > 0
	}
	return c.input.hasInput()
}
