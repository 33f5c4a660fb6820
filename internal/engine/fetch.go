package engine

import (
	"context"
	"time"
)

// Fetch reads from several partitions. It returns when MinBytes are there, when any partition has an error, when
// MaxWait is over, when ctx ends, or with ErrClosed for each partition when the engine closes. MaxBytes bounds all
// records together and FetchPartition.MaxBytes those of one partition, but the first batch found is always returned
// whole, so that a consumer can't stall on a large one. A batch is returned whole when the offset lies inside it.
//
// The result has one element for each partition asked for, in that order. dst is reused if it is large enough, its
// Records slices too; the bytes in them belong to the log.
func (e *Engine) Fetch(ctx context.Context, req FetchRequest, dst []Fetched) []Fetched {
	dst = resize(dst, len(req.Partitions))
	if !e.begin() {
		for i := range dst {
			dst[i] = Fetched{Err: ErrClosed, HighWatermark: -1, LastStable: -1, LogStart: -1}
		}
		return dst
	}
	defer e.inFlight.Done()

	f := fetch{engine: e, req: req, dst: dst, parts: make([]*part, len(dst))}
	if f.readAll(); f.complete() || req.MaxWait <= 0 || len(dst) == 0 {
		return dst
	}
	f.wait(ctx)
	return dst
}

func resize(dst []Fetched, n int) []Fetched {
	if cap(dst) < n {
		dst = append(dst[:cap(dst)], make([]Fetched, n-cap(dst))...)
	}
	return dst[:n]
}

// fetch is one Fetch at work.
type fetch struct {
	engine *Engine
	req    FetchRequest
	dst    []Fetched
	parts  []*part // nil where dst has an error
	bytes  int     // of records in dst
	failed bool    // some partition has an error
}

func (f *fetch) complete() bool { return f.failed || f.bytes >= max(f.req.MinBytes, 1) }

func (f *fetch) readAll() {
	for i := range f.dst {
		f.parts[i] = nil
		p, err := f.engine.part(f.req.Partitions[i].Partition)
		if err == nil {
			err = p.checkEpoch(f.req.Partitions[i].LeaderEpoch)
		}
		if err != nil {
			f.dst[i] = Fetched{Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1, Records: f.dst[i].Records[:0]}
			f.failed = true
			continue
		}
		f.parts[i] = p
		f.dst[i].Records = f.dst[i].Records[:0]
		f.read(i)
	}
}

// read fills dst[i], which must have no records.
func (f *fetch) read(i int) {
	p, want, got := f.parts[i], &f.req.Partitions[i], &f.dst[i]
	high := p.end()
	*got = Fetched{HighWatermark: high, LastStable: high, LogStart: p.start(), Records: got.Records}
	switch room := f.req.MaxBytes - f.bytes; {
	case p.deleted.Load():
		got.Err = ErrUnknownTopic
	case want.Offset > high || want.Offset < got.LogStart:
		got.Err = ErrOffsetOutOfRange
	case want.Offset == high, f.bytes > 0 && room <= 0:
	default:
		got.Records, got.Stored, got.Err = p.read(got.Records, want.Offset, min(want.MaxBytes, room), f.req.Stored)
		got.Err = f.engine.readError(got.Err)
		if got.Err != nil && p.deleted.Load() {
			got.Err = ErrUnknownTopic // and its log is closed
		}
		size := got.SizeBytes()
		if f.bytes > 0 && size > room { // only the first partition with records may pass the limit
			clear(got.Records)
			got.Records, size = got.Records[:0], 0
		}
		f.bytes += size
		got.HighWatermark = p.end()
		got.LastStable = got.HighWatermark
	}
	f.failed = f.failed || got.Err != nil
}

// wait reads on as appends come, until the fetch is complete or its time is over.
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
	timeout := time.NewTimer(f.req.MaxWait)
	defer timeout.Stop()
	for {
		// First look again: an append may have come between the read and the entry in the lists.
		for i, p := range f.parts {
			if p.deleted.Load() || p.end() > f.dst[i].HighWatermark {
				f.bytes -= f.dst[i].SizeBytes()
				clear(f.dst[i].Records)
				f.dst[i].Records = f.dst[i].Records[:0]
				f.read(i)
			}
		}
		if f.complete() {
			return
		}
		select {
		case <-poll.woken:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		case <-f.engine.closing:
			for i := range f.dst {
				f.dst[i].Err = ErrClosed
			}
			return
		}
	}
}

func (p *part) checkEpoch(epoch int32) error {
	switch current := p.epoch.Load(); {
	case epoch < 0 || epoch == current:
		return nil
	case epoch < current:
		return ErrFencedEpoch
	default:
		return ErrUnknownEpoch
	}
}
