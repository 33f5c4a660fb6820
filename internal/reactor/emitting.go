package reactor

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
)

// emitting is an attempt whose handler has succeeded, while the records that it has emitted are on their way to the log.
type emitting struct {
	*Reactor
	Outcome
	to      *logclient.Client // appends the records
	handled handled           // how the attempt has ended if all of them become durable, without through

	left    atomic.Int32          // number of records that are neither acknowledged nor have failed
	failure atomic.Pointer[error] // the first; nil if there was none
}

// produce appends the records. It blocks while too many records are on their way to the log. When all of them are acknowledged or
// have failed, the end of the attempt is reported.
func (e *emitting) produce(ctx context.Context) {
	e.left.Store(int32(len(e.Emit)))
	for _, record := range e.Emit {
		produced := func(err error) { e.produced(record, err) }
		if err := e.to.ProduceFitting(ctx, e.spec.EmitTimeout, record, produced); err != nil {
			produced(err)
		}
	}
}

// produced is called with the result of each record. It does not block.
func (e *emitting) produced(record *kgo.Record, err error) {
	if err != nil {
		err = fmt.Errorf("%s not emitted: %w", cloudevent.FromRecord(record).Type, err)
		e.failure.CompareAndSwap(nil, &err)
	}
	if e.left.Add(-1) > 0 {
		return
	}
	if first := e.failure.Load(); first != nil {
		e.step(e.Reactor.failure(e.handled.attempt, *first))
		return
	}
	records := e.Emit
	if len(e.Appended) > 0 {
		records = slices.Concat(e.Appended, e.Emit)
	}
	e.handled.through = e.throughOf(records...)
	e.acknowledged.add(e.Reactor, e.handled)
}
