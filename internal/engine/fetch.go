package engine

import (
	"context"
	"time"

	"tidings.dev/internal/partition"
)

// Fetch reads batches of several partitions. It blocks until it has found req.MinBytes of batches, a partition has an
// error, req.MaxWait is over, or req.HurriedWait after a value from req.Hurry, ctx ends, or the engine closes. In the last case every partition gets ErrClosed.
// req.MaxBytes bounds the batches of all partitions together and FetchPartition.MaxBytes those of one partition, but
// the first batch found is always returned whole, so that a batch above the limit cannot stall a consumer. The first
// batch of a partition is the one that contains the requested offset.
//
// The result has one element for each requested partition, in the order of the request. Fetch reuses dst, and the
// Records slices in it, if dst is large enough. The batches belong to the log and must not be written to. Errors of a
// partition match ErrUnknownTopic, ErrUnknownPartition, ErrFencedEpoch, ErrUnknownEpoch, ErrOffsetOutOfRange,
// batch.ErrCorrupt, ErrStorage or ErrClosed.
func (e *Engine) Fetch(ctx context.Context, req FetchRequest, dst []Fetched) []Fetched {
	dst = resize(dst, len(req.Partitions))
	if !e.life.beginRead() {
		for i := range dst {
			dst[i] = Fetched{Err: ErrClosed, HighWatermark: -1, LastStable: -1, LogStart: -1}
		}
		return dst
	}
	defer e.life.readers.Done()

	f := fetch{engine: e, req: req, dst: dst, parts: make([]*part, len(dst))}
	if f.readAll(); f.complete() || req.MaxWait <= 0 || len(dst) == 0 {
		return dst
	}
	f.wait(ctx)
	return dst
}

// resize returns dst with length n. Elements of dst keep their content.
func resize(dst []Fetched, n int) []Fetched {
	if cap(dst) < n {
		dst = append(dst[:cap(dst)], make([]Fetched, n-cap(dst))...)
	}
	return dst[:n]
}

// fetch is the state of one call of Fetch. Invariant: bytes is the size in bytes of all batches in dst.
type fetch struct {
	engine *Engine
	req    FetchRequest
	dst    []Fetched
	parts  []*part // parts[i] is the partition of dst[i], or nil if dst[i].Err says why there is none
	bytes  int
	failed bool // some element of dst has an error, or req.Budget is used up
}

// complete reports whether the fetch has enough bytes, or a failure, so that it need not wait any longer.
func (f *fetch) complete() bool { return f.failed || f.bytes >= max(f.req.MinBytes, 1) }

// readAll finds all requested partitions and reads each of them once.
func (f *fetch) readAll() {
	f.engine.findParts(f.req.Partitions, f.parts)
	for i := range f.dst {
		var err error
		if p := f.parts[i]; p != nil {
			err = p.checkEpoch(f.req.Partitions[i].LeaderEpoch)
		} else if _, err = f.engine.part(f.req.Partitions[i].Partition); err == nil {
			err = ErrUnknownPartition // it was created after findParts
		}
		if err != nil {
			f.parts[i] = nil
			f.dst[i] = Fetched{Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1, Records: f.dst[i].Records[:0]}
			f.failed = true
			continue
		}
		f.dst[i].Records = f.dst[i].Records[:0]
		f.read(i)
	}
}

// read reads partition i into dst[i] and adds the size to f.bytes. Batches that dst[i] had before must not be counted
// in f.bytes.
func (f *fetch) read(i int) {
	p, want, got := f.parts[i], &f.req.Partitions[i], &f.dst[i]
	start, high := p.bounds()
	*got = Fetched{HighWatermark: high, LastStable: min(p.lastStable(), high), LogStart: start, Records: got.Records}
	switch left := f.req.MaxBytes - f.bytes; {
	case p.deleted.Load():
		got.Err = ErrUnknownTopic
	case want.Offset > high || want.Offset < got.LogStart:
		got.Err = ErrOffsetOutOfRange
	case want.Offset == high, f.bytes > 0 && left <= 0, f.req.Committed && want.Offset >= got.LastStable:
	default:
		most, ok := f.take(min(want.MaxBytes, left))
		if !ok {
			break
		}
		stable := int64(-1)
		if f.req.Committed && p.ring == nil {
			var c partition.Committed
			got.Records, got.Stored, c, got.Err = p.log.ReadCommitted(got.Records, want.Offset, most, f.req.Stored)
			stable, got.Aborted = c.Stable, c.Aborted
		} else {
			got.Records, got.Stored, got.Err = p.read(got.Records, want.Offset, most, f.req.Stored)
		}
		got.Err = f.engine.readError(got.Err)
		if got.Err != nil && p.deleted.Load() { // the log of a deleted partition is closed, which explains any other error
			got.Err = ErrUnknownTopic // and its log is closed
		}
		size := got.SizeBytes()
		if f.bytes > 0 && size > left { // only the first partition with batches may exceed the limit
			clear(got.Records)
			got.Records, got.Stored, got.Aborted, size = got.Records[:0], Stored{}, nil, 0
		}
		f.bytes += size
		f.giveBack(most - got.InMemoryBytes())
		if stable < 0 {
			stable = p.lastStable()
		}
		got.HighWatermark = p.end()
		got.LastStable = min(stable, got.HighWatermark)
	}
	f.failed = f.failed || got.Err != nil
}

// take takes up to wantBytes from the budget, for one partition, and returns how many may be read; 0 means one batch. It
// returns false if the budget is used up.
func (f *fetch) take(wantBytes int) (bytes int, ok bool) {
	if f.req.Budget == nil {
		return wantBytes, true
	}
	bytes = f.req.Budget.Take(max(wantBytes, 1))
	f.failed = f.failed || bytes == 0
	return bytes, bytes > 0
}

// giveBack returns bytes that take has taken to the budget.
func (f *fetch) giveBack(bytes int) {
	if f.req.Budget != nil && bytes != 0 {
		f.req.Budget.Return(bytes)
	}
}

// wait reads partitions again as records are appended to them, until the fetch is complete, req.MaxWait is over, ctx
// ends or the engine closes. No element of f.parts may be nil.
func (f *fetch) wait(ctx context.Context) {
	poll := f.engine.newPoll(len(f.parts))
	for i, p := range f.parts {
		p.waiting.add(&poll.nodes[i], poll)
	}
	defer func() {
		for i, p := range f.parts {
			p.waiting.remove(&poll.nodes[i])
		}
		f.engine.releasePoll(poll)
	}()
	timeout, began, hurry := time.NewTimer(f.req.MaxWait), time.Now(), f.req.Hurry
	defer timeout.Stop()
	if f.req.MaxWait <= f.req.HurriedWait {
		hurry = nil
	}
	for {
		// A record may have been appended between the first read and the entry of the poll into the lists of waiters,
		// so the loop checks the partitions before it waits.
		for i, p := range f.parts {
			if p.deleted.Load() || f.hasMore(i) {
				f.bytes -= f.dst[i].SizeBytes()
				f.giveBack(f.dst[i].InMemoryBytes())
				clear(f.dst[i].Records)
				f.dst[i].Records = f.dst[i].Records[:0]
				f.read(i)
			}
		}
		if f.complete() {
			return
		}
		kept := f.bytes == 0 || f.req.Budget == nil
		if !kept {
			f.drop()
		}
		select {
		case <-poll.woken:
		case <-hurry:
			timeout.Reset(f.req.HurriedWait - time.Since(began))
			hurry = nil
		case <-timeout.C:
			f.readDropped(kept)
			return
		case <-ctx.Done():
			f.readDropped(kept)
			return
		case <-f.engine.life.closing:
			for i := range f.dst {
				f.dst[i].Err = ErrClosed
			}
			return
		}
		f.readDropped(kept)
	}
}

// hasMore reports whether partition i has more to read than when it was read last.
func (f *fetch) hasMore(i int) bool {
	if f.req.Committed {
		return f.parts[i].lastStable() > f.dst[i].LastStable
	}
	return f.parts[i].end() > f.dst[i].HighWatermark
}

// drop forgets the batches that were read, so that a fetch which waits for more holds no memory meanwhile. readDropped reads
// them again.
func (f *fetch) drop() {
	for i := range f.dst {
		f.giveBack(f.dst[i].InMemoryBytes())
		clear(f.dst[i].Records)
		f.dst[i].Records, f.dst[i].Stored, f.dst[i].Aborted = f.dst[i].Records[:0], Stored{}, nil
	}
	f.bytes = 0
}

// readDropped reads all partitions, unless their batches were kept.
func (f *fetch) readDropped(kept bool) {
	if !kept {
		for i := range f.dst {
			f.read(i)
		}
	}
}
