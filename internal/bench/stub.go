package bench

import (
	"context"
	"errors"
	"net"
)

// StubConfig says what a stub serves. The zero value is a null sink and a raw server without sendfile.
type StubConfig struct {
	KeepBytes int64  // as Null.KeepBytes
	File      string // as Raw.File
}

// Stub is a null server and a raw server, each on a loopback port of its own: the ceilings that stand at the other end
// of a connection. It belongs into another process, as the broker does.
type Stub struct {
	Null string `json:"null"` // addresses
	Raw  string `json:"raw"`

	listeners []net.Listener
	null      *Null
	raw       *Raw
}

// ListenStub takes the ports.
func ListenStub(c StubConfig) (*Stub, error) {
	s := &Stub{null: &Null{KeepBytes: c.KeepBytes}, raw: &Raw{File: c.File}}
	for _, address := range []*string{&s.Null, &s.Raw} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		*address = l.Addr().String()
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// Serve serves both until ctx ends, and returns nil then.
func (s *Stub) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	failed := make(chan error, 2)
	go func() { failed <- s.null.Serve(s.listeners[0]) }()
	go func() { failed <- s.raw.Serve(s.listeners[1]) }()
	err := <-failed
	s.close()
	return errors.Join(err, <-failed)
}

func (s *Stub) close() {
	for _, l := range s.listeners {
		l.Close()
	}
}
