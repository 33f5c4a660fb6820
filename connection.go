package tidings

import (
	"context"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Connection says where the log is. Kafka and Socket make one here; package embedded makes those that run a broker in
// this process. One Connection may serve several apps at the same time.
type Connection interface {
	// Connect prepares a link to the log; it may start a broker, and it does not dial. Each link is closed by whoever
	// asked for it.
	Connect(ctx context.Context) (*Link, error)
}

// Link is how Kafka clients reach the log.
type Link struct {
	// Addresses are the brokers to ask first.
	Addresses []string
	// Dial makes one connection; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Instance says that the log lives and dies with this process, and names it for ever: apps on it become static
	// members, so that a process which was killed takes up its partitions at once when it is back. Empty: not so.
	Instance string
	// Close releases what Connect took; nil means nothing to release. Clients made of the link are to be closed before.
	Close func() error
}

// Options are the options by which a Kafka client uses this link.
func (l *Link) Options() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(l.Addresses...)}
	if l.Dial != nil {
		opts = append(opts, kgo.Dialer(l.Dial))
	}
	return opts
}

func (l *Link) close() error {
	if l.Close == nil {
		return nil
	}
	return l.Close()
}

// Kafka reaches a Tidings server, or an Apache Kafka cluster, by TCP. Addresses are "host:port", joined by commas;
// a missing port is 9092.
func Kafka(addresses string) Connection {
	c := remote{}
	for a := range strings.SplitSeq(addresses, ",") {
		if a = strings.TrimSpace(a); a != "" {
			c.addresses = append(c.addresses, a)
		}
	}
	return c
}

// Socket reaches a broker on this machine by its unix socket.
func Socket(path string) Connection {
	return remote{addresses: []string{"localhost:9092"}, socket: path}
}

type remote struct {
	addresses []string
	socket    string
}

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
