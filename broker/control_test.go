package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/datadir"
)

// TestSnapshotOfARunningBroker makes a snapshot while a client produces. The snapshot must contain all records that
// were acknowledged before, must be a data directory that can be opened, and must be removed by Close.
func TestSnapshotOfARunningBroker(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, AutoCreateTopics: true})
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
	const before = 10 // number of records acknowledged before SnapshotOf is called
	enough := make(chan struct{})
	stop := make(chan struct{})
	var producing sync.WaitGroup
	producing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := cl.ProduceSync(context.Background(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				t.Error(err)
				return
			}
			if i+1 == before {
				close(enough)
			}
		}
	})
	select {
	case <-enough:
	case <-time.After(10 * time.Second):
		t.Fatalf("%d records were not acknowledged", before)
	}
	snap, err := SnapshotOf(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if snap.ClusterID != b.ClusterID() || snap.Topics != 1 {
		t.Errorf("%d acknowledged before; %+v", before, snap.Snapshot)
	}

	// Case: a second snapshot is refused while the first exists.
	if _, err := SnapshotOf(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("a second snapshot: %v", err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(snap.Dir)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	producing.Wait()
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, datadir.SnapshotDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the snapshot is still there after its Close: %v", err)
	}
	if err := os.Remove(filepath.Join(copied, datadir.SnapshotContent)); err != nil {
		t.Fatal(err)
	}
	restored := open(t, Config{Dir: copied})
	got := 0
	reader := client(t, restored, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for got < before && ctx.Err() == nil {
		got += reader.PollFetches(ctx).NumRecords()
	}
	if got < before {
		t.Errorf("%d records, %d were acknowledged before the snapshot", got, before)
	}
}

// TestControlSocket calls SnapshotOf where no broker runs, sends requests that the broker does not know, and closes a
// broker while a snapshot exists.
func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	if _, err := SnapshotOf(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no broker was ever there: %v", err)
	}
	b := open(t, Config{Dir: dir})
	info, err := os.Stat(filepath.Join(dir, ControlName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	for _, line := range []string{"what?\n", "{\"request\":\"selfdestruct\"}\n", strings.Repeat("x", 10_000) + "\n"} {
		conn, err := dialUnix(t.Context(), filepath.Join(dir, ControlName))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, line)
		answer, _ := bufio.NewReader(conn).ReadString('\n')
		if len(line) < maxControlBytes && !strings.HasPrefix(answer, `{"error":"`) {
			t.Errorf("%s answered %s", line, answer)
		}
		conn.Close()
	}
	snap, err := SnapshotOf(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	snap.Close()
	if _, err := os.Stat(snap.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the snapshot stays: %v", err)
	}
	if _, err := SnapshotOf(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the broker is closed: %v", err)
	}
}

// TestCheckpointOfARunningBroker checks that CheckpointOf makes a newer checkpoint, that a second call with nothing new
// makes none, and that an unknown request is refused.
func TestCheckpointOfARunningBroker(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, AutoCreateTopics: true})
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
	newest := func() string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "checkpoint-*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("checkpoints: %v %v", files, err)
		}
		return files[len(files)-1] // Glob returns the names in order
	}
	before := newest()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := CheckpointOf(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	after := newest()
	if after <= before {
		t.Errorf("the newest checkpoint is %s, and was %s before", after, before)
	}
	if err := CheckpointOf(t.Context(), dir); err != nil || newest() != after {
		t.Errorf("with nothing new: %v, %s", err, newest())
	}
	if _, _, err := ask(t.Context(), dir, "dance"); err == nil || !strings.Contains(err.Error(), "dance") {
		t.Errorf("an unknown request: %v", err)
	}
	if err := CheckpointOf(t.Context(), t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where no broker runs: %v", err)
	}
}
