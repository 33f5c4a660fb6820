package bench

import (
	"context"
	"io"
	"net"
	"os"

	"tidings.dev/internal/pipe"
)

// Modes of a connection to a raw server. The client selects one with the first byte that it sends.
const (
	rawFlood    = 'f' // the server writes bytes from memory endlessly
	rawSendfile = 's' // the server writes a file with sendfile, repeatedly
	rawEcho     = 'e' // the server sends back what it receives, pingBytes at a time
)

const (
	floodBytes = 256 << 10 // size of one write
	pingBytes  = 64
)

// RawServer is the server for measurements of connections: [StreamLimit], [SendfileLimit] and [PingLimit]. The zero
// value can be used, except for sendfile, which needs File.
type RawServer struct {
	File string // name of a file that WriteSendfile has written
}

// Serve accepts connections until l is closed, and serves each of them in a goroutine. It then returns nil.
func (r *RawServer) Serve(l net.Listener) error { return serveConns(l, r.ServeConn) }

// ServeConn serves one connection until the client closes it.
func (r *RawServer) ServeConn(conn net.Conn) {
	defer conn.Close()
	var mode [1]byte
	if _, err := io.ReadFull(conn, mode[:]); err != nil {
		return
	}
	switch mode[0] {
	case rawFlood:
		for data := make([]byte, floodBytes); ; {
			if _, err := conn.Write(data); err != nil {
				return
			}
		}
	case rawSendfile:
		f, err := os.Open(r.File)
		if err != nil {
			return
		}
		defer f.Close()
		for err == nil {
			if _, err = f.Seek(0, io.SeekStart); err == nil {
				_, err = io.Copy(conn, f) // uses sendfile, as conn is a *net.TCPConn
			}
		}
	case rawEcho:
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, pingBytes))
	}
}

// Dial connects to the server within this process. The connection is of the same kind as that of an in-process
// broker.
func (r *RawServer) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := pipe.New(0, pipe.Addr("raw"), pipe.Addr("client"))
	go r.ServeConn(ours)
	return theirs, nil
}
