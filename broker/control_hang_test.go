package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev/internal/vfs"
)

// setControlTimes changes the times of the control socket until the test ends.
func setControlTimes(t *testing.T, interval, timeout time.Duration) {
	i, o := controlInterval, controlTimeout
	controlInterval, controlTimeout = interval, timeout
	t.Cleanup(func() { controlInterval, controlTimeout = i, o })
}

// TestABrokerThatHangsIsReported asks a control socket that nobody serves, as that of a stopped process. The client must
// say so after a while.
func TestABrokerThatHangsIsReported(t *testing.T) {
	setControlTimes(t, time.Hour, 200*time.Millisecond)
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ControlName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = SnapshotOf(ctx, dir)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "hangs or is stopped") {
		t.Error("SnapshotOf:", err)
	}
	if err := CheckpointOf(ctx, dir); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("CheckpointOf:", err)
	}
}

// TestASlowBrokerIsWaitedFor makes a snapshot on a disk that is slower than the client's patience. The client must wait,
// because the broker says that it is at work.
func TestASlowBrokerIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	release := make(chan struct{})
	blocked := make(chan struct{}, 1)
	var armed atomic.Bool
	disk, err := vfs.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	slow := vfs.NewFaulty(disk, func(op vfs.Op) error {
		if armed.Load() && op.Kind == vfs.OpSync {
			select {
			case blocked <- struct{}{}:
			default:
			}
			<-release
		}
		return nil
	})
	b := open(t, Config{Dir: dir, fs: slow, AutoCreateTopics: true})
	produce(t, b, "orders", 0, 10)
	setControlTimes(t, 20*time.Millisecond, 500*time.Millisecond)
	armed.Store(true)
	answered := make(chan error, 1)
	go func() { answered <- CheckpointOf(t.Context(), dir) }()
	select {
	case <-blocked:
	case <-time.After(10 * time.Second):
		t.Fatal("no sync")
	}
	select {
	case err := <-answered:
		t.Error("it was answered before the disk was:", err)
		close(release)
	case <-time.After(2 * time.Second):
		close(release)
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}
