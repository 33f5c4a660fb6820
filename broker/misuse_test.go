package broker

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"
)

// TestWrongUseIsRefused checks that wrong use of the package gets an error that says what is wrong, where, and how to
// correct it.
func TestWrongUseIsRefused(t *testing.T) {
	open := func(c Config) error {
		b, err := Open(c)
		if err == nil {
			b.Close()
		}
		return err
	}
	dir := t.TempDir()
	closed, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, dialClosed := closed.Dial(t.Context())
	_, dialZero := new(Broker).Dial(t.Context())
	_, dialNil := (*Broker)(nil).Dial(t.Context())
	_, dialDirEmpty := DialDir(t.Context(), "")
	_, dialDirUnused := DialDir(t.Context(), dir)
	_, snapshotEmpty := SnapshotOf(t.Context(), "")
	_, snapshotUnused := SnapshotOf(t.Context(), dir)
	for _, c := range []struct {
		name  string
		err   error
		words []string // in the text of the error
		is    error    // nil: nothing in particular
	}{
		{"neither Dir nor Memory", open(Config{}), []string{"Config.Dir is empty", "Config.Memory"}, nil},
		{"both Dir and Memory", open(Config{Dir: dir, Memory: true}), []string{dir, "Config.Memory", "only one"}, nil},
		{"negative MaxConnections", open(Config{Memory: true, MaxConnections: -1}), []string{"Config.MaxConnections is -1", "0 means the default"}, nil},
		{"negative MaxConnectionBytes", open(Config{Memory: true, MaxConnectionBytes: -1}), []string{"Config.MaxConnectionBytes"}, nil},
		{"negative DrainTimeout", open(Config{Memory: true, DrainTimeout: -time.Second}), []string{"Config.DrainTimeout"}, nil},
		{"an advertised address without a host", open(Config{Memory: true, AdvertisedAddr: ":9092"}), []string{"Config.AdvertisedAddr", `":9092"`, "host:port"}, nil},
		{"an advertised address with a bad port", open(Config{Memory: true, AdvertisedAddr: "log.example:http"}), []string{"Config.AdvertisedAddr", "log.example:http"}, nil},
		{"Serve of no listener", closed.Serve(nil), []string{"Serve", "nil", "net.Listen"}, nil},
		{"Dial of a closed broker", dialClosed, []string{"Dial", dir, "closed", "broker.Open"}, ErrClosed},
		{"Dial of a zero Broker", dialZero, []string{"Dial", "not opened", "broker.Open"}, nil},
		{"Dial of a nil Broker", dialNil, []string{"Dial", "not opened", "broker.Open"}, nil},
		{"Serve of a zero Broker", new(Broker).Serve(&net.TCPListener{}), []string{"Serve", "not opened", "broker.Open"}, nil},
		{"Close of a zero Broker", new(Broker).Close(), []string{"Close", "not opened", "broker.Open"}, nil},
		{"Err of a zero Broker", new(Broker).Err(), []string{"Err", "not opened", "broker.Open"}, nil},
		{"Full of a zero Broker", new(Broker).Full(), []string{"Full", "not opened", "broker.Open"}, nil},
		{"Full of a nil Broker", (*Broker)(nil).Full(), []string{"Full", "not opened", "broker.Open"}, nil},
		{"DialDir without a directory", dialDirEmpty, []string{"data directory is empty"}, nil},
		{"DialDir where no broker runs", dialDirUnused, []string{"no broker runs on " + dir, "tidings serve --data " + dir}, fs.ErrNotExist},
		{"SnapshotOf without a directory", snapshotEmpty, []string{"data directory is empty"}, nil},
		{"SnapshotOf where no broker runs", snapshotUnused, []string{"no broker runs on " + dir}, fs.ErrNotExist},
		{"CheckpointOf without a directory", CheckpointOf(t.Context(), ""), []string{"data directory is empty"}, nil},
		{"Close of a zero Snapshot", new(Snapshot).Close(), []string{"Snapshot", "SnapshotOf"}, nil},
	} {
		if c.err == nil {
			t.Errorf("%s is not refused", c.name)
			continue
		}
		for _, word := range append(c.words, "broker") {
			if !strings.Contains(c.err.Error(), word) {
				t.Errorf("%s: %q does not say %q", c.name, c.err, word)
			}
		}
		if c.is != nil && !errors.Is(c.err, c.is) {
			t.Errorf("%s: %v is not %v", c.name, c.err, c.is)
		}
	}

	if id := new(Broker).ClusterID(); id != "" {
		t.Errorf("the cluster id of a zero Broker is %q", id)
	}

	// Case: correct uses that look wrong, such as a second Close.
	if err := closed.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	for _, address := range []string{"log.example", "log.example:9092", "log.example:0", "[2001:db8::1]:9092"} {
		if err := open(Config{Memory: true, AdvertisedAddr: address}); err != nil {
			t.Errorf("advertised %q: %v", address, err)
		}
	}
}
