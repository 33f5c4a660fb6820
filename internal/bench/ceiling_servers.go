package bench

import (
	"context"
	"errors"
	"net"
)

// CeilingConfig configures ListenCeilings. The zero value gives a null sink and a raw server without sendfile.
type CeilingConfig struct {
	KeepBytes int64  // see NullServer.KeepBytes
	File      string // see RawServer.File
}

// CeilingServers is a [NullServer] and a [RawServer], each on a loopback port of its own. They are the ceilings of a broker
// that is reached over TCP, and run in a separate process as such a broker does. The JSON encoding has the two addresses.
type CeilingServers struct {
	NullAddress string `json:"null"`
	RawAddress  string `json:"raw"`

	listeners []net.Listener
	null      *NullServer
	raw       *RawServer
}

// ListenCeilings listens on two free ports. The caller must call Serve, which closes the listeners.
func ListenCeilings(c CeilingConfig) (*CeilingServers, error) {
	s := &CeilingServers{null: &NullServer{KeepBytes: c.KeepBytes}, raw: &RawServer{File: c.File}}
	for _, address := range []*string{&s.NullAddress, &s.RawAddress} {
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

// Serve serves both ports until ctx is done. It then returns nil.
func (s *CeilingServers) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	failed := make(chan error, 2)
	go func() { failed <- s.null.Serve(s.listeners[0]) }()
	go func() { failed <- s.raw.Serve(s.listeners[1]) }()
	err := <-failed
	s.close()
	return errors.Join(err, <-failed)
}

func (s *CeilingServers) close() {
	for _, l := range s.listeners {
		l.Close()
	}
}
