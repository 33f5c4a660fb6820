package broker

import (
	"net"
	"sync/atomic"

	"tidings.dev/internal/engine"
)

// descriptors bounds the accepted connections of a broker, so that file descriptors are left for the files of the log.
type descriptors struct {
	max  int // connections
	used atomic.Int64
}

const (
	// reservedDescriptors is for everything but connections and segment files: journal, checkpoints, sockets, an index of
	// stories, and the standard files.
	reservedDescriptors = 32
	// minAcceptedConnections are accepted even if the process may open hardly any files.
	minAcceptedConnections = 8
	// localConnections is how many more connections are accepted on unix sockets, so that an administrator gets through
	// when there are too many others.
	localConnections = 4
)

// maxAcceptedConnections returns how many connections can be accepted if the process uses its descriptors for nothing
// but a broker.
func maxAcceptedConnections() int {
	// A segment file may have a second descriptor, for direct I/O.
	return max(openFilesLimit()-2*engine.MaxOpenFiles()-reservedDescriptors, minAcceptedConnections)
}

// take counts an accepted connection, and reports whether it may be served. If so, the caller must call release when it
// is closed.
func (d *descriptors) take(conn net.Conn) bool {
	limit := d.max
	if conn.LocalAddr().Network() == "unix" {
		limit += localConnections
	}
	if d.used.Add(1) > int64(limit) {
		d.release()
		return false
	}
	return true
}

// release takes back a successful take.
func (d *descriptors) release() { d.used.Add(-1) }
