package story_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings.dev/embedded"
	"tidings.dev/story"
)

// TestFollowGoesOnAfterAFullDisk fills the disk with the index, so that the indexer fails, and makes room again. Stories
// must be followed again without a restart.
func TestFollowGoesOnAfterAFullDisk(t *testing.T) {
	defer story.SetFollowPause(10 * time.Millisecond)()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a tmpfs can't be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	conn := embedded.WithoutStory(embedded.Memory())
	shop, _ := run(t, conn, "shop", nil)
	ctx, cancel := context.WithTimeout(shop.Context(t.Context()), time.Minute)
	defer cancel()
	settle := func(id string, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		receipt, err := placed.Emit(ctx, order{id})
		if err != nil {
			t.Fatal(err)
		}
		return receipt.Settled(ctx)
	}

	following, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		story.Follow(following, conn, filepath.Join(dir, "index"), story.Options{Emit: true, Logger: slog.New(slog.DiscardHandler)})
	})
	defer running.Wait()
	defer stop()
	if err := settle("1", 30*time.Second); err != nil {
		t.Fatal("on a disk with room:", err)
	}

	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 512; size /= 2 { // until it is full to the last byte
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	failed := false
	for i := 0; i < 2000 && !failed; i++ {
		if _, err := placed.Emit(ctx, order{"many"}); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			failed = settle("2", 3*time.Second) != nil
		}
	}
	if !failed {
		t.Fatal("the index has room on a full disk")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := settle("3", 30*time.Second); err != nil {
		t.Error("there is room again:", err)
	}
}
