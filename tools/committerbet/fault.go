//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// faults cuts a connection of a client at a given request: before the request is written, or afterwards, so that its
// response is never read.
type faults struct {
	mu      sync.Mutex
	armed   bool
	key     int16 // API key of the request
	after   bool
	outage  time.Duration // time after the cut during which dialling fails
	until   time.Time
	address net.Dialer
}

// errCut is returned by a connection that was cut, and by dial during an outage.
var errCut = errors.New("cut by the referee")

// arm makes the next request with the given key cut its connection, and then makes dialling fail for a number of
// seconds.
func (f *faults) arm(key int16, after bool, seconds float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.key, f.after, f.outage = true, key, after, time.Duration(seconds*float64(time.Second))
}

func (f *faults) dial(ctx context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	out := time.Now().Before(f.until)
	f.mu.Unlock()
	if out {
		return nil, errCut
	}
	conn, err := f.address.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cuttable{conn, f}, nil
}

// hit reports whether a connection must be cut at a request with this key, and if so, whether after the request is
// written.
func (f *faults) hit(key int16) (cut, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed || f.key != key {
		return false, false
	}
	f.armed = false
	f.until = time.Now().Add(f.outage)
	return true, f.after
}

// cuttable is a connection of kgo. It relies on kgo to write a request in one call; a request begins with 4 bytes of
// length and 2 bytes of API key.
type cuttable struct {
	net.Conn
	faults *faults
}

func (c *cuttable) Write(b []byte) (int, error) {
	if len(b) < 6 {
		return c.Conn.Write(b)
	}
	cut, after := c.faults.hit(int16(binary.BigEndian.Uint16(b[4:])))
	if !cut {
		return c.Conn.Write(b)
	}
	if after {
		n, err := c.Conn.Write(b)
		if err != nil {
			return n, err
		}
	}
	c.Conn.Close()
	return 0, errCut
}
