package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestMain runs the tests. If BROKER_TEST_DIR is set in the environment, it instead runs a broker on that directory
// until its standard input ends; TestLockNamesItsOwner starts such a process.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BROKER_TEST_DIR"); dir != "" {
		b, err := Open(Config{Dir: dir})
		fmt.Println("open:", err)
		bufio.NewReader(os.Stdin).ReadByte()
		if err == nil {
			b.Close()
		}
		return
	}
	os.Exit(m.Run())
}

// TestLockNamesItsOwner checks that a second broker on a directory is refused with the process id of the first, in
// another process and in the same one, and that the directory is free once the first is killed.
func TestLockNamesItsOwner(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "BROKER_TEST_DIR="+dir)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "open: <nil>\n" {
		t.Fatalf("the other process says %q", line)
	}
	_, err = Open(Config{Dir: dir})
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != other.Process.Pid {
		t.Errorf("while process %d has it: %v", other.Process.Pid, err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	other.Wait()

	b := open(t, Config{Dir: dir}) // the socket that the killed broker has left must not prevent this
	_, err = Open(Config{Dir: dir})
	if locked, ok := errors.AsType[*LockedError](err); !ok || locked.PID != os.Getpid() {
		t.Errorf("while this process has it: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
}

// TestForeignDirectoryIsRefused checks that a directory with other files is refused, that the error names them, and
// that nothing is created in the directory.
func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Dir: dir})
	if _, ok := errors.AsType[*ForeignError](err); !ok || !strings.Contains(err.Error(), "thesis.txt") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("it holds %v now", entries)
	}
}

// TestUnusableDirectories checks that Open returns an error which names the path if it cannot be used as a data
// directory.
func TestUnusableDirectories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file: %v", err)
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("neither Dir nor Memory was accepted")
	}
	if _, err := Open(Config{Dir: t.TempDir(), Memory: true}); err == nil {
		t.Error("both Dir and Memory were accepted")
	}
	if os.Getuid() == 0 {
		return // root may write everywhere
	}
	locked := t.TempDir()
	os.Chmod(locked, 0o500)
	if _, err := Open(Config{Dir: locked}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("an unwritable directory: %v", err)
	}
}

// TestSocket checks that DialDir connects to the broker, that only the owner can use the socket, and that Close removes
// it; also in a directory whose path is too long for a socket address.
func TestSocket(t *testing.T) {
	short := t.TempDir()
	for _, dir := range []string{short, filepath.Join(short, strings.Repeat("a long name/", 20))} {
		b := open(t, Config{Dir: dir, AutoCreateTopics: true})
		info, err := os.Stat(filepath.Join(dir, SocketName))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket: %v, %v", info, err)
		}
		cl := client(t, b, kgo.AllowAutoTopicCreation(),
			kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return DialDir(ctx, dir) }))
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("by socket")}).FirstErr(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := DialDir(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
		if dir == short { // the other directory is inside this one, where a broker would refuse foreign files
			os.RemoveAll(dir)
			os.Mkdir(dir, 0o700)
		}
	}
}

// TestServe checks that a client over TCP is told the address that it dialled, and what Serve and Dial return after
// Close.
func TestServe(t *testing.T) {
	b := open(t, Config{Memory: true, AutoCreateTopics: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("by tcp")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	found, err := kadm.NewClient(cl).ListBrokers(ctx)
	if err != nil || len(found) != 1 || fmt.Sprintf("%s:%d", found[0].Host, found[0].Port) != l.Addr().String() {
		t.Errorf("it was sent to %+v, %v", found, err)
	}
	b.Close()
	if err := <-served; !errors.Is(err, ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := b.Dial(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial after Close: %v", err)
	}
	if err := b.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

// TestCloseDrains closes a broker while clients produce and wait in a Fetch. The Fetch must not delay Close, and every
// acknowledged record must be there when the log is opened again.
func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, AutoCreateTopics: true})
	produce(t, b, "orders", 0, 1)
	cl := client(t, b, kgo.RecordRetries(0), kgo.RecordDeliveryTimeout(5*time.Second), kgo.MaxBufferedRecords(100))
	reader := client(t, b, kgo.ConsumeTopics("orders"), kgo.FetchMaxWait(time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			reader.PollFetches(ctx)
		}
	}()
	var mu sync.Mutex
	var acknowledged []string
	underWay := make(chan struct{}) // closed when 1000 records are acknowledged; others are then in flight
	go func() {
		for i := 1; ctx.Err() == nil; i++ {
			cl.Produce(ctx, &kgo.Record{Topic: "orders", Value: fmt.Append(nil, i)}, func(r *kgo.Record, err error) {
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if acknowledged = append(acknowledged, string(r.Value)); len(acknowledged) == 1000 {
					close(underWay)
				}
			})
		}
	}()
	<-underWay
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
	cancel()
	b = open(t, Config{Dir: dir})
	mu.Lock()
	defer mu.Unlock()
	there := readAll(t, b, "orders", len(acknowledged))
	for _, value := range acknowledged {
		if !there[value] {
			t.Errorf("record %s was acknowledged and is lost", value)
		}
	}
}

// readAll reads a topic from its beginning until it has at least atLeast different values, and returns the values.
func readAll(t *testing.T, b *Broker, topic string, atLeast int) map[string]bool {
	t.Helper()
	cl := client(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	there := map[string]bool{}
	for len(there) < atLeast {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read: %v, after %d of %d", err, len(there), atLeast)
		}
		fetches.EachRecord(func(r *kgo.Record) { there[string(r.Value)] = true })
	}
	return there
}
