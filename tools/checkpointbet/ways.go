//go:build linux && (amd64 || arm64)

package main

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// way is a way to make the dirty files durable.
type way struct {
	name string
	run  func(*bench) error
}

// quiet is the name of the way that only waits, so that the journal is measured alone.
const quiet = "quiet"

// pieceBytes is the size of the pieces that bench.pieces writes.
const pieceBytes = 2 << 20

// ways are all ways, the quiet one first.
var ways = []way{
	{quiet, func(*bench) error { time.Sleep(2 * time.Second); return nil }},
	{"each", each(fdatasync)},
	{"each, idle class", idle(each(fdatasync))},
	{"16 at once", sixteen},
	{"syncfs", func(b *bench) error { return syncfs(b.journal) }},
	{"each, pause 1×", each(paced(fdatasync, 1))},
	{"each, pause 3×", each(paced(fdatasync, 3))},
	{"written, each", both(each(writeOut), each(fdatasync))},
	{"written 1×, each 1×", both(each(paced(writeOut, 1)), each(paced(fdatasync, 1)))},
	{"written 3×, syncfs", both(each(paced(writeOut, 3)), func(b *bench) error { return syncfs(b.journal) })},
	{"groups of 8, 3×", groups(8, 3)},
	{"groups of 32, 1×", groups(32, 1)},
	{"groups of 32, 3×", groups(32, 3)},
}

// each returns a way that calls do for each file, one after the other.
func each(do func(*os.File) error) func(*bench) error {
	return func(b *bench) error {
		for _, f := range b.segments {
			if err := do(f); err != nil {
				return err
			}
		}
		return nil
	}
}

// both returns a way that runs two ways one after the other.
func both(first, second func(*bench) error) func(*bench) error {
	return func(b *bench) error {
		if err := first(b); err != nil {
			return err
		}
		return second(b)
	}
}

// paced returns a function that calls do and then pauses for the given multiple of the time that do has taken.
func paced(do func(*os.File) error, times int) func(*os.File) error {
	return func(f *os.File) error {
		began := time.Now()
		err := do(f)
		rest(time.Since(began), times)
		return err
	}
}

// rest pauses for the given multiple of took, but for at most 50 ms.
func rest(took time.Duration, times int) {
	// A call as short as this has not used the disk, and a sleep would take longer than it.
	if took >= 20*time.Microsecond {
		time.Sleep(min(time.Duration(times)*took, 50*time.Millisecond))
	}
}

// writeOut writes the dirty pages of a file and waits until they are written. It writes no metadata and does not
// flush the disk's cache.
func writeOut(f *os.File) error { return syncFileRange(f, 0, 0, writeAndWait) }

// groups returns a way that handles the files in groups of the given size: it starts the writing of all files of a
// group, waits for it, syncs the files, and pauses. The first sync lets the file system commit metadata for the
// others as well. If a file has more than pieceBytes to write, it is a group of its own, and is written in pieces
// first.
func groups(size, times int) func(*bench) error {
	return func(b *bench) error {
		for from := 0; from < len(b.segments); from += size {
			group := b.segments[from:min(from+size, len(b.segments))]
			if b.dirtyBytes > pieceBytes {
				group = group[:1]
				from -= size - 1
				if err := b.pieces(group[0], times); err != nil {
					return err
				}
			}
			began := time.Now()
			for _, do := range []func(*os.File) error{
				func(f *os.File) error { return syncFileRange(f, 0, 0, write) },
				writeOut, fdatasync,
			} {
				for _, f := range group {
					if err := do(f); err != nil {
						return err
					}
				}
			}
			rest(time.Since(began), times)
		}
		return nil
	}
}

// pieces writes the dirty pages of a file in pieces of pieceBytes, with a pause after each.
func (b *bench) pieces(f *os.File, times int) error {
	for at := b.sizeBytes - int64(b.dirtyBytes); at < b.sizeBytes; at += pieceBytes {
		began := time.Now()
		if err := syncFileRange(f, at, pieceBytes, writeAndWait); err != nil {
			return err
		}
		rest(time.Since(began), times)
	}
	return nil
}

// sixteen is a way that syncs 16 files at a time.
func sixteen(b *bench) error {
	next := make(chan *os.File)
	errs := make(chan error, 16)
	var all sync.WaitGroup
	for range cap(errs) {
		all.Go(func() {
			var failed error
			for f := range next {
				if err := fdatasync(f); err != nil {
					failed = err
				}
			}
			errs <- failed
		})
	}
	for _, f := range b.segments {
		next <- f
	}
	close(next)
	all.Wait()
	for range cap(errs) {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// idle returns a way that runs with the idle I/O priority class. Schedulers that support it (mq-deadline, bfq) serve
// this class last.
func idle(do func(*bench) error) func(*bench) error {
	return func(b *bench) error {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := idleClass(); err != nil {
			return err
		}
		return do(b)
	}
}
