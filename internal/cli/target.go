package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
)

const (
	defaultBroker  = "localhost:9092"
	defaultDataDir = "tidings-data"
	localBroker    = "tidings:9092" // stands for a broker that is not reached by an address
	// reachTimeout is how long a broker may take to answer the first request before it counts as unreachable.
	reachTimeout = 5 * time.Second
)

// A target is where the log is: addresses, the unix socket of a data directory, or a broker in this process.
type target struct {
	brokers []string
	dial    func(context.Context) (net.Conn, error) // nil: TCP to the addresses
	label   string                                  // for messages
	inside  tidings.Connection                      // how apps reach a broker in this process; nil: it is another's
}

// findTarget follows the rule: --brokers, else the socket in --data, else TIDINGS_BROKERS, else the socket in
// TIDINGS_DATA, else that of ./tidings-data if it answers, else localhost:9092.
func findTarget(ctx context.Context, brokersFlag, dataFlag string) (target, error) {
	switch {
	case brokersFlag != "":
		return brokersTarget("--brokers", brokersFlag)
	case dataFlag != "":
		return socketTarget(ctx, dataFlag)
	case os.Getenv("TIDINGS_BROKERS") != "":
		return brokersTarget("TIDINGS_BROKERS", os.Getenv("TIDINGS_BROKERS"))
	case os.Getenv("TIDINGS_DATA") != "":
		return socketTarget(ctx, os.Getenv("TIDINGS_DATA"))
	}
	if t, err := socketTarget(ctx, defaultDataDir); err == nil {
		return t, nil
	}
	return target{brokers: []string{defaultBroker}, label: defaultBroker}, nil
}

func brokersTarget(source, list string) (target, error) {
	t := target{label: list}
	for broker := range strings.SplitSeq(list, ",") {
		broker = strings.TrimSpace(broker)
		if err := checkAddress(broker); err != nil {
			return t, usagef("give it as HOST:PORT, several with commas between", "%s: %q: %v", source, broker, err)
		}
		t.brokers = append(t.brokers, broker)
	}
	return t, nil
}

func checkAddress(address string) error {
	if address == "" {
		return errors.New("no address")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if !strings.Contains(address, ":") {
			return nil // kgo adds Kafka's own port
		}
		return err
	}
	if host == "" {
		return errors.New("no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	return nil
}

func socketTarget(ctx context.Context, dir string) (target, error) {
	t := target{brokers: []string{localBroker}, label: dir, dial: func(ctx context.Context) (net.Conn, error) { return broker.DialDir(ctx, dir) }}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return t, &Fault{Code: "not_found", Message: fmt.Sprintf("no data directory at %s", dir), Exit: ExitNotFound, Err: err,
			Hint: "name the directory that `tidings serve` or `tidings demo` was started with"}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	conn, err := t.dial(ctx)
	if err != nil {
		return t, &Fault{Code: "unreachable", Message: fmt.Sprintf("no broker runs on %s: %s", dir, rootCause(err)), Exit: ExitUnreachable, Err: err,
			Hint: fmt.Sprintf("start it with `tidings serve --data %s`", dir)}
	}
	conn.Close()
	return t, nil
}

// inProcess is a broker of this process.
func inProcess(b *broker.Broker) target {
	return target{brokers: []string{localBroker}, label: b.String(), dial: b.Dial, inside: embedded.Broker(b)}
}

// Connect makes a target a tidings.Connection.
func (t target) Connect(ctx context.Context) (*tidings.Link, error) {
	if t.inside != nil {
		return t.inside.Connect(ctx)
	}
	link := &tidings.Link{Addresses: t.brokers}
	if t.dial != nil {
		link.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }
	}
	return link, nil
}

// options are what every client of the target needs.
func (t target) options() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(t.brokers...), kgo.ClientID("tidings-cli"), kgo.DisableClientMetrics()}
	if t.dial != nil {
		opts = append(opts, kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }))
	}
	return opts
}

// client returns a client of a target that answers. The caller closes it.
func (t target) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(t.options(), more...)...)
	if err != nil {
		return nil, err
	}
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.Ping(reach); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unreachable(t.label, err)
	}
	return client, nil
}
