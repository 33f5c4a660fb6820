package tidings

import (
	"context"
	"net"
	"strings"
)

// Connection is the way to a log. [Kafka] and [Socket] return a Connection to a log that runs elsewhere; package
// embedded has connections that run a broker in this process. One Connection may be used by several apps at the same
// time.
type Connection interface {
	// Connect returns a link to the log. It may start a broker, but opens no network connection itself. The caller
	// closes the link by calling Link.Close if that is not nil.
	Connect(ctx context.Context) (*Link, error)
}

// Link is how Kafka clients reach a log. Package kgolink turns a Link into options of a kgo client.
type Link struct {
	// Addresses are the brokers that a client asks first for the rest of the cluster, as "host:port" or "host".
	Addresses []string
	// Dial opens one network connection to a broker; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Instance is a name that the log has for ever, set only for a log that lives in this process. Apps on such a log
	// become static members of their groups (KIP-345), under names that begin with Instance, so that a process that
	// was killed gets its partitions back at once when it is started again. It is empty for any other log.
	Instance string
	// Indexed reports whether an indexer was started together with the log. If so, [Receipt.Settled] waits ten seconds
	// instead of one for an indexer to appear before it fails with [ErrNoIndexer].
	Indexed bool
	// Close releases what Connect has opened, such as a broker; nil means that there is nothing to release. All
	// clients that use the link must be closed before.
	Close func() error
}

// close calls Close, and returns nil if there is none.
func (l *Link) close() error {
	if l.Close == nil {
		return nil
	}
	return l.Close()
}

// Kafka returns a connection over TCP to a Tidings server or an Apache Kafka cluster. addresses are one or more
// brokers, "host:port" joined by commas; a missing port means 9092. If addresses names no broker, [Open] fails.
func Kafka(addresses string) Connection {
	c := remote{}
	for a := range strings.SplitSeq(addresses, ",") {
		if a = strings.TrimSpace(a); a != "" {
			c.addresses = append(c.addresses, a)
		}
	}
	return c
}

// Socket returns a connection to a broker on this machine through the unix socket at path.
func Socket(path string) Connection {
	return remote{addresses: []string{"localhost:9092"}, socket: path}
}

// remote is the Connection to a broker outside of this process.
type remote struct {
	addresses []string
	socket    string // path of a unix socket; empty means TCP
}

// Connect implements Connection.
func (r remote) Connect(context.Context) (*Link, error) {
	if len(r.addresses) == 0 {
		return nil, errNoAddress
	}
	l := &Link{Addresses: r.addresses}
	if r.socket != "" {
		l.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", r.socket)
		}
	}
	return l, nil
}
