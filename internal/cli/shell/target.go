package shell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/internal/logclient"
)

const (
	defaultBroker = "localhost:9092"
	// DefaultDataDir is the data directory, relative to the working directory, of a command that is given none.
	DefaultDataDir = "tidings-data"
	// LocalBroker is the address that is passed to clients of a broker that they reach through a dial function. The
	// dial function ignores it.
	LocalBroker = "tidings:9092"
	// ReachTimeout is how long a broker may take to answer the first request before it is reported as unreachable.
	ReachTimeout = 5 * time.Second
)

// Target is the place of a log: addresses, the Unix socket in a data directory, or a broker in this process. It
// implements tidings.Connection.
type Target struct {
	// Brokers are the addresses of the brokers to connect to first.
	Brokers []string

	dial func(context.Context) (net.Conn, error) // nil: TCP to Brokers
	name string                                  // for messages: the addresses or directory that the user has given
	// inside is the connection of apps to a broker in this process. It is nil if the broker is in another process.
	inside tidings.Connection
	log    *slog.Logger // logger of the clients; nil: they do not log
}

// Target returns the place of the log that the command line names. It is the first of these that is given: --brokers,
// the socket in --data, TIDINGS_BROKERS, the socket in TIDINGS_DATA. If none is given, it is the socket in
// ./tidings-data if a broker answers there, else localhost:9092. Target returns a fault if no broker answers on a
// data directory that was given, or if an address is invalid. It does not dial addresses.
func (s *Session) Target(ctx context.Context) (Target, error) {
	t, err := findTarget(ctx, s.Brokers, s.Data)
	if s.Verbose {
		t.log = s.Logger()
	}
	return t, err
}

func findTarget(ctx context.Context, brokersFlag, dataFlag string) (Target, error) {
	switch {
	case brokersFlag != "":
		return ParseBrokers("--brokers", brokersFlag)
	case dataFlag != "":
		return socketTarget(ctx, dataFlag)
	case os.Getenv("TIDINGS_BROKERS") != "":
		return ParseBrokers("TIDINGS_BROKERS", os.Getenv("TIDINGS_BROKERS"))
	case os.Getenv("TIDINGS_DATA") != "":
		return socketTarget(ctx, os.Getenv("TIDINGS_DATA"))
	}
	if t, err := socketTarget(ctx, DefaultDataDir); err == nil {
		return t, nil
	}
	return Target{Brokers: []string{defaultBroker}, name: defaultBroker}, nil
}

// ParseBrokers returns the target for a comma-separated list of addresses. It returns a usage fault if an address is
// invalid; source is the name of the flag or variable that the list comes from. It does not dial.
func ParseBrokers(source, list string) (Target, error) {
	t := Target{name: list}
	for address := range strings.SplitSeq(list, ",") {
		address = strings.TrimSpace(address)
		if err := checkAddress(address); err != nil {
			return t, Usagef("give it as HOST:PORT, several with commas between", "%s: %q: %v", source, address, err)
		}
		t.Brokers = append(t.Brokers, address)
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
			return nil // kgo adds Kafka's default port
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

// socketTarget returns the target for the broker that runs on a data directory. It dials once, and returns a fault if
// no broker answers.
func socketTarget(ctx context.Context, dir string) (Target, error) {
	t := Target{Brokers: []string{LocalBroker}, name: dir, dial: func(ctx context.Context) (net.Conn, error) { return broker.DialDir(ctx, dir) }}
	if err := CheckDirectory(dir); err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, ReachTimeout)
	defer cancel()
	conn, err := t.dial(ctx)
	if err != nil {
		return t, &Fault{Code: "unreachable", Message: fmt.Sprintf("no broker runs on %s: %s", dir, RootCause(err)), Exit: ExitUnreachable, Err: err,
			Hint: fmt.Sprintf("start it with `tidings serve --data %s`", dir)}
	}
	conn.Close()
	return t, nil
}

// CheckDirectory returns a not-found fault if dir is not a directory.
func CheckDirectory(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &Fault{Code: "not_found", Message: fmt.Sprintf("no data directory at %s", dir), Exit: ExitNotFound, Err: err,
			Hint: "name the directory that `tidings serve` or `tidings demo` was started with"}
	}
	return nil
}

// InProcess returns the target for a broker in this process. The caller must keep the broker open while the target is
// used.
func InProcess(b *broker.Broker) Target {
	return Target{Brokers: []string{LocalBroker}, name: b.String(), dial: b.Dial, inside: embedded.Broker(b)}
}

// Connect implements tidings.Connection.
func (t Target) Connect(ctx context.Context) (*tidings.Link, error) {
	if t.inside != nil {
		return t.inside.Connect(ctx)
	}
	link := &tidings.Link{Addresses: t.Brokers}
	if t.dial != nil {
		link.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }
	}
	return link, nil
}

// Log returns a client of the log, after a broker has answered. The caller must close the client. If no broker
// answers within ReachTimeout, Log returns a fault with exit code 5.
func (t Target) Log(ctx context.Context) (*logclient.Client, error) {
	config := logclient.Config{
		Addresses: t.Brokers, ClientID: "tidings-cli", ConnectTimeout: ReachTimeout, Logger: slog.New(slog.DiscardHandler),
		Options: []kgo.Opt{kgo.DisableClientMetrics()},
	}
	if t.dial != nil {
		config.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }
	}
	if t.log != nil {
		config.Logger, config.ClientLogger = t.log, clientLog{t.log}
	}
	client, err := logclient.New(config)
	if err != nil {
		return nil, err
	}
	reach, cancel := context.WithTimeout(ctx, ReachTimeout)
	defer cancel()
	// Ping is used in place of Reach, which keeps dialling: an address on which no process listens is reported at
	// once.
	if err := client.Client().Ping(reach); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unreachable(t.name, err)
	}
	return client, nil
}

// Log returns a client of the log that the command line names. It calls Target and Target.Log.
func (s *Session) Log(ctx context.Context) (*logclient.Client, error) {
	t, err := s.Target(ctx)
	if err != nil {
		return nil, err
	}
	return t.Log(ctx)
}

// clientLog passes the log messages of a kgo client to a slog.Logger, for --verbose.
type clientLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (clientLog) Level() kgo.LogLevel { return kgo.LogLevelDebug }

// Log implements kgo.Logger.
func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	slogLevel := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		slogLevel = slog.LevelError
	case kgo.LogLevelWarn:
		slogLevel = slog.LevelWarn
	case kgo.LogLevelInfo:
		slogLevel = slog.LevelInfo
	}
	l.log.Log(context.Background(), slogLevel, msg, keyvals...)
}
