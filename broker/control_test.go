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

	"tidings.dev/internal/engine"
)

// Case: while a client produces, somebody asks for a snapshot. It holds all that was acknowledged before, can be opened
// as a data directory, and goes away with the connection.
func TestSnapshotOfARunningBroker(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, AutoCreateTopics: true})
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
	var mu sync.Mutex
	acked := 0
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
			mu.Lock()
			acked++
			mu.Unlock()
		}
	})
	before := 0
	for before < 10 {
		time.Sleep(time.Millisecond)
		mu.Lock()
		before = acked
		mu.Unlock()
	}
	snap, err := SnapshotOf(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if snap.ClusterID != b.ClusterID() || snap.Topics != 1 {
		t.Errorf("%d acknowledged before; %+v", before, snap.Snapshot)
	}

	// Case: a second one meanwhile.
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
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, engine.SnapshotDir)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the snapshot stays after its connection has ended")
		}
	}
	if err := os.Remove(filepath.Join(copied, engine.SnapshotContent)); err != nil {
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

// Case: no broker runs there, and requests that no broker knows. A broker closes with a snapshot in use.
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

// Case: somebody asks for a checkpoint. It is durable when the answer comes, and a second one, with nothing new, is the
// same; a request that this broker does not know is told.
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
		return files[len(files)-1] // Glob sorts
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
