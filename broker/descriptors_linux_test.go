package broker

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// limitOpenFiles lowers the limit of open files of this process until the test ends, or until the function that it returns is called. It
// must not run in parallel with other tests.
func limitOpenFiles(t *testing.T, n int) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	lower := before
	lower.Cur = uint64(n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lower); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// TestNoFileDescriptorStopsNothingForGood uses up all file descriptors of the process while records are produced to
// many partitions, whose segments are small. Produce may fail meanwhile. When the descriptors are free again, everything
// must go on by itself.
func TestNoFileDescriptorStopsNothingForGood(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, SegmentBytes: 64 << 10, CheckpointBytes: 256 << 10, TailBytes: 64 << 10, DefaultPartitions: 16, AutoCreateTopics: true})
	client := client(t, b, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"), kgo.RecordRetries(3), kgo.RecordDeliveryTimeout(5*time.Second),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.DisableIdempotentWrite())
	produce := func(untilRefused bool) (failed int) {
		for i := 0; i < 100 && !(untilRefused && failed > 0); i++ { // a round may last until its records time out
			var records []*kgo.Record
			for range 16 {
				records = append(records, &kgo.Record{Key: fmt.Append(nil, i), Value: make([]byte, 4000)})
			}
			for _, r := range client.ProduceSync(t.Context(), records...) {
				if r.Err != nil {
					failed++
				}
			}
			if err := b.Err(); err != nil {
				t.Fatal("the log is fenced:", err)
			}
		}
		return failed
	}
	if failed := produce(false); failed > 0 {
		t.Fatal(failed, "records are refused on a machine with enough file descriptors")
	}

	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	limitOpenFiles(t, len(entries)+20)
	var held []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	t.Log(len(held), "descriptors are held;", produce(true), "records were refused")
	for _, f := range held {
		f.Close()
	}
	for end := time.Now().Add(30 * time.Second); b.Full() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not go on:", b.Full())
		}
	}
	if failed := produce(false); failed > 0 {
		t.Error(failed, "records are refused though there are file descriptors again:", b.Full())
	}
}

// TestConnectionsLeaveFileDescriptorsForTheLog opens more connections than the process can have files. Those over the
// limit are closed, a command on the unix socket is still served, and the log has the descriptors that it needs.
func TestConnectionsLeaveFileDescriptorsForTheLog(t *testing.T) {
	restore := limitOpenFiles(t, 128)
	b := open(t, Config{Dir: t.TempDir()})
	want := maxAcceptedConnections()
	restore() // the clients are in this process, too
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve(l)
	var served, refused int
	for range want + 20 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff} // ApiVersions
		if _, err = conn.Write(request); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			served++
		} else {
			refused++
		}
	}
	if served != want || refused != 20 {
		t.Errorf("%d connections were served and %d refused; want %d and 20", served, refused, want)
	}
	local, err := DialDir(t.Context(), b.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	awaitServed(t, local)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limitOpenFiles(t, 256)
	if got := maxAcceptedConnections(); got != 256-2*64-reservedDescriptors {
		t.Errorf("%d connections with 256 open files", got)
	}
}
