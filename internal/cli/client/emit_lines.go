package client

import (
	"context"
	"runtime/debug"
	"strconv"
	"sync/atomic"

	"tidings.dev"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
)

// maxBlocksOnTheirWay is the maximum number of input blocks with lines that are not acknowledged or whose receipts
// are not printed. The number of events in flight is limited by tidings.Fact.EmitAsync.
const maxBlocksOnTheirWay = 256

// lines emits one event for each line of stdin that is not blank, in the order of the lines, with many events in
// flight, and prints the receipts. At the first line that cannot be emitted it stops, and returns a fault that names
// the line. The events of the lines before it are durable then.
//
// A line passes through four goroutines: readBlocks reads it, a goroutine for its block checks it, send emits its
// event, and collect, which runs in the calling goroutine, prints the outcome.
func (e *announcer) lines(ctx context.Context, s *shell.Session) error {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // trades memory for time: each line allocates
	sending, stop := context.WithCancel(ctx)
	defer stop()
	receipts := newReceipts(s.Output(), continuation{e.id, e.subject != ""}, stop)
	defer watchEmitted(s, receipts)()
	sent := make(chan []sentLine, maxBlocksOnTheirWay)
	go func() {
		defer close(sent)
		e.send(sending, readBlocks(sending, s.Stdin, e.fromLine, parseSubject(e.subject)), sent, &receipts.awaited)
	}()
	if err := receipts.collect(ctx, sent, s.Note); err != nil {
		return err
	}
	if receipts.durable() == 0 && e.fromLine > 1 {
		return shell.Usagef("leave --from-line out to begin with the first", "nothing to emit: stdin has nothing from line %d on", e.fromLine)
	}
	if receipts.durable() == 0 {
		return shell.Usagef("one JSON value on each line", "nothing to emit: stdin is empty")
	}
	return nil
}

// send emits the event of each line until blocks is closed, a line is invalid, an event was refused, or ctx is done.
// It sends the lines of a block to sent before it emits their events. Every line that it sends to sent gets an
// outcome, also if its event is not emitted.
func (e *announcer) send(ctx context.Context, blocks <-chan *inputBlock, sent chan<- []sentLine, awaited *awaitedLine) {
	var failed atomic.Bool
	emitting := e.app.Context(ctx)
	for last := 0; !failed.Load(); {
		b, ok := nextBlock(ctx, blocks)
		if ctx.Err() != nil {
			refused := make([]sentLine, 1)
			refused[0].number = last + 1
			refused[0].refuse(context.Cause(ctx))
			sent <- refused
			return
		}
		if !ok {
			return
		}
		lines := make([]sentLine, len(b.lines))
		for i := range lines {
			lines[i].number = b.lines[i].number
		}
		sent <- lines
		for i, line := range b.lines {
			to := &lines[i]
			if line.err == nil {
				line.err = context.Cause(ctx)
			}
			switch {
			case failed.Load():
				awaited.answer(to, receipt{}, errNotSent)
			case line.err != nil:
				failed.Store(true)
				awaited.answer(to, receipt{}, line.err)
			default:
				e.fact.EmitAsync(emitting, cloudevent.Encoded{JSON: line.data, Subject: line.subject}, func(r tidings.Receipt, err error) {
					if err != nil {
						failed.Store(true)
					}
					awaited.answer(to, receipt{r.ID, r.Topic, r.Partition, r.Offset}, err)
				}, tidings.ID(e.id+"-"+strconv.Itoa(line.number)))
			}
			last = line.number
		}
		if b.last {
			return // an interrupt after the last line leaves nothing to go on with
		}
	}
}

// nextBlock returns the next block after it was checked. It returns false if blocks is closed or ctx is done.
func nextBlock(ctx context.Context, blocks <-chan *inputBlock) (*inputBlock, bool) {
	var b *inputBlock
	select {
	case b = <-blocks:
	case <-ctx.Done():
	}
	if b == nil {
		return nil, false
	}
	<-b.checked
	return b, true
}
