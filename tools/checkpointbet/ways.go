//go:build linux

package main

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// way is one way to make 1,000 dirty files durable.
type way struct {
	name string
	run  func(*bench) error
}

const quiet = "quiet"

const pieceBytes = 2 << 20

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

// each does it file by file.
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

// both does one after the other.
func both(first, second func(*bench) error) func(*bench) error {
	return func(b *bench) error {
		if err := first(b); err != nil {
			return err
		}
		return second(b)
	}
}

// paced leaves the disk alone for some times as long as it was used.
func paced(do func(*os.File) error, times int) func(*os.File) error {
	return func(f *os.File) error {
		began := time.Now()
		err := do(f)
		rest(time.Since(began), times)
		return err
	}
}

func rest(took time.Duration, times int) {
	// Nothing that short has used a disk, and a sleep would be longer.
	if took >= 20*time.Microsecond {
		time.Sleep(min(time.Duration(times)*took, 50*time.Millisecond))
	}
}

// writeOut has the file's dirty pages written and waits for them, without metadata and without flushing the disk's cache.
func writeOut(f *os.File) error { return syncFileRange(f, 0, 0, writeAndWait) }

// groups starts the writing of some files, waits for all, syncs all, and rests. What the file system commits for the
// first covers the others. A file with more than pieceBytes to write is a group of its own, and is written in pieces first.
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

// pieces writes a file out piece by piece and rests in between.
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

// sixteen keeps 16 syncs under way.
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

// idle runs with the I/O priority class that a scheduler which knows it (mq-deadline, bfq) serves last.
func idle(do func(*bench) error) func(*bench) error {
	return func(b *bench) error {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := idleClass(); err != nil {
			return err
		}
		return do(b)
	}
}
