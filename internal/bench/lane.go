package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// untimed marks a record whose latency is not taken; timedShare is one record in how many is, where they are too many
// for two looks at the clock each.
const (
	untimed    = -1
	timedShare = 16
)

// lane is one producer: a client and its books.
type lane struct {
	*senders
	client *kgo.Client
	acked  atomic.Int64

	mu    sync.Mutex // guards what follows; kgo calls promises one after the other, emitters come at once
	hists histograms
	timed int64      // in hists
	late  histograms // of records that were due in the window and not sent any more
	err   error

	flights sync.Pool // *flight
}

// flight is a record under way asynchronously. It is used again once acknowledged, so that the load makes no garbage of
// its own.
type flight struct {
	record   kgo.Record
	intended int64
	stamped  []byte // the value, where it carries its moment
	landed   func(*kgo.Record, error)
}

func (ln *lane) flight() *flight {
	if f, ok := ln.flights.Get().(*flight); ok {
		return f
	}
	f := &flight{}
	if ln.stamp != nil {
		f.stamped = make([]byte, ln.load.RecordBytes)
	}
	f.landed = func(_ *kgo.Record, err error) {
		ln.land(f.intended, err)
		ln.flights.Put(f)
	}
	return f
}

// land books one acknowledgement.
func (ln *lane) land(intended int64, err error) {
	if err != nil {
		ln.fail(err)
		return
	}
	ln.acked.Add(1)
	if intended == untimed {
		return
	}
	in := ln.window.find(intended)
	if in < 0 {
		return
	}
	took := moment() - intended
	ln.mu.Lock()
	ln.hists.in(in).Record(time.Duration(took))
	ln.timed++
	ln.mu.Unlock()
}

// bookOverdue counts the records that a sender owed in the window when the run ended, with the time that they had
// waited by then. Left out, a stall at the end of a run would make its latency better.
func (ln *lane) bookOverdue(pace *pacer) {
	now := moment()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for due := range pace.overdue(now) {
		if in := ln.window.find(due); in >= 0 {
			ln.late.in(in).Record(time.Duration(now - due))
		}
	}
}

// histograms are one for each span of the window. The zero value is ready.
type histograms []*Histogram

// in is that of one span.
func (h *histograms) in(i int) *Histogram {
	for len(*h) <= i {
		*h = append(*h, &Histogram{})
	}
	return (*h)[i]
}

// fail ends the run, unless it was over: then a record that was cut off is no failure.
func (ln *lane) fail(err error) {
	if errors.Is(err, context.Canceled) && ln.ctx.Err() != nil {
		return
	}
	ln.mu.Lock()
	if ln.err == nil {
		ln.err = err
	}
	ln.mu.Unlock()
	ln.cancel(err)
}

func (ln *lane) failed() error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.err
}

// sendAll produces asynchronously until the run is over. It blocks where the client's buffer is full.
func (ln *lane) sendAll(i int) {
	if ln.load.Rate > 0 {
		defer steadyThread()()
	}
	pace := newPacer(ln.ctx, ln.load.Rate, i, len(ln.lanes))
	defer ln.bookOverdue(pace)
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	for n := 0; ln.limit == 0 || int64(n) < ln.limit; n++ {
		intended := int64(untimed)
		if ln.load.Rate > 0 || ln.stamp != nil || n%timedShare == 0 {
			var ok bool
			if intended, ok = pace.next(); !ok {
				return
			}
		}
		f := ln.flight()
		f.intended = intended
		f.record = kgo.Record{Key: ln.payload.key(rng), Value: ln.payload.value(n + i)}
		if ln.stamp != nil {
			copy(f.stamped, f.record.Value)
			ln.stamp.put(f.stamped, intended)
			f.record.Value = f.stamped
		}
		// The record's own context lives on: what was sent is to be acknowledged, even if the run ends meanwhile.
		ln.client.Produce(context.WithoutCancel(ln.ctx), &f.record, f.landed)
	}
}

// emit produces one record at a time and waits for it, until the run is over.
func (ln *lane) emit(i int) {
	if ln.load.Rate > 0 {
		defer steadyThread()()
	}
	pace := newPacer(ln.ctx, ln.load.Rate, i, ln.load.Emitters)
	defer ln.bookOverdue(pace)
	rng := rand.New(rand.NewPCG(uint64(i), 2))
	value := make([]byte, ln.load.RecordBytes)
	for n := 0; ; n++ {
		intended, ok := pace.next()
		if !ok {
			return
		}
		record := &kgo.Record{Key: ln.payload.key(rng), Value: ln.payload.value(n + i)}
		if ln.stamp != nil {
			copy(value, record.Value)
			ln.stamp.put(value, intended)
			record.Value = value
		}
		err := ln.client.ProduceSync(context.WithoutCancel(ln.ctx), record).FirstErr()
		ln.land(intended, err)
		if err != nil {
			return
		}
	}
}

// stamp writes the intended moment into values, and the run's own number, so that a consumer knows its records.
//
//	0        8        16
//	+--------+--------+-------------
//	| run    | moment | payload
//	+--------+--------+-------------
type stamp struct{ run uint64 }

const stampBytes = 16

func (s *stamp) put(value []byte, intended int64) {
	binary.LittleEndian.PutUint64(value, s.run)
	binary.LittleEndian.PutUint64(value[8:], uint64(intended))
}

// read returns a record's intended moment; false: it is none of this run's.
func (s *stamp) read(value []byte) (int64, bool) {
	if len(value) < stampBytes || binary.LittleEndian.Uint64(value) != s.run {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(value[8:])), true
}
