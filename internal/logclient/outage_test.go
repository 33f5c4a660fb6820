package logclient

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Case: a client is closed while it connects. That is no outage, and nothing is said; a broker that does not answer is
// one.
func TestAClosedClientIsNoOutage(t *testing.T) {
	var said bytes.Buffer
	o := &outage{log: slog.New(slog.NewTextHandler(&said, nil))}
	dial := func(ctx context.Context) {
		_, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")
		o.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, fmt.Errorf("unable to dial: %w", err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if dial(ctx); said.Len() != 0 || o.lastError() != nil {
		t.Errorf("said of a closed client: %s", &said)
	}
	if dial(t.Context()); said.Len() == 0 || o.lastError() == nil {
		t.Error("nothing is said of an address where nobody listens")
	}
}
