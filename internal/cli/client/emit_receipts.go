package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings.dev"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
)

const (
	// interruptGrace is how long emit waits for acknowledgements after an interrupt.
	interruptGrace = 2 * time.Second
	// noteWaitAfter is how long emit waits for them before it says that it does.
	noteWaitAfter = 200 * time.Millisecond
)

// sentLine is an input line with the outcome of its event.
type sentLine struct {
	number int // from 1

	// receipt and err are the outcome of the event. They may be read once answered is true, and do not change
	// afterwards.
	receipt  receipt
	err      error
	answered atomic.Bool
}

var (
	// errNotSent is the outcome of a line that was read but not sent, because an earlier line has failed.
	errNotSent = errors.New("not sent")
	// errNotAnswered is the outcome of an event that was not acknowledged within interruptGrace after an interrupt.
	errNotAnswered = errors.New("the log has not answered")
)

// refuse sets the error of a line that was not sent, before any other goroutine has the line.
func (l *sentLine) refuse(err error) { l.err = err; l.answered.Store(true) }

// awaitedLine is the line whose outcome collect waits for. A goroutine that sets the outcome of a line wakes collect
// only if collect waits for this line, so that other outcomes cost little.
type awaitedLine struct {
	line atomic.Pointer[sentLine] // nil if collect does not wait
	wake chan struct{}            // has capacity 1; receives a value when line is answered
}

// answer sets the outcome of a line and wakes collect if it waits for the line. It does not block.
func (a *awaitedLine) answer(l *sentLine, r receipt, err error) {
	l.receipt, l.err = r, err
	l.answered.Store(true)
	if a.line.Load() == l {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// await blocks until a line has an outcome and returns true. If over is closed before that, it returns false. Only
// one goroutine may call await.
func (a *awaitedLine) await(l *sentLine, over <-chan struct{}) bool {
	a.line.Store(l) // store the line before loading answered; answer does both in the opposite order, so no wake-up is missed
	defer a.line.Store(nil)
	for !l.answered.Load() {
		select {
		case <-a.wake:
		case <-over:
			return false
		}
	}
	return true
}

// receipts prints the receipts of events in the order of their lines, and keeps what has failed.
type receipts struct {
	format shell.Format
	out    *bufio.Writer
	line   []byte // buffer for encoding one line of output
	stop   func() // ends the sending of further lines
	goOn   continuation

	awaited awaitedLine

	emitted atomic.Int64 // events that are durable
	goOnAt  atomic.Int64 // number of the first line that is not known to be durable, or of a blank one before it
	failed  *failedLine  // the first line that failed
	broken  error        // the first error of writing to out
}

// failedLine is the first line that could not be emitted, with the outcomes of the lines that were sent after it.
type failedLine struct {
	number int
	err    error
	before int   // number of events of earlier lines, all of which are durable
	after  []int // later lines whose events are durable
	doubt  []int // lines, perhaps including this one, whose events may or may not be durable
}

// continuation is how what is left of an input can be emitted after a line has failed.
type continuation struct {
	id       string // the prefix of the ids of lines
	subjects bool   // copies get into the partition of their originals
}

// newReceipts returns receipts that are printed to out. stop is called when a line has failed or out cannot be
// written.
func newReceipts(out *shell.Output, goOn continuation, stop func()) *receipts {
	r := &receipts{
		format: out.Format, out: bufio.NewWriterSize(out, 64<<10), stop: stop, goOn: goOn, awaited: awaitedLine{wake: make(chan struct{}, 1)},
	}
	r.goOnAt.Store(1)
	return r
}

// durable returns the number of events that are durable. Another goroutine may call it while collect runs.
func (r *receipts) durable() int { return int(r.emitted.Load()) }

// collect prints the outcome of each line until sent is closed. It returns the fault of the first line that failed,
// or one for the error of writing to the output. After ctx is done, it waits for outcomes for at most interruptGrace. If
// that takes a while it calls note, from another goroutine, with what the user must know who does not wait for the end.
func (r *receipts) collect(ctx context.Context, sent <-chan []sentLine, note func(format string, args ...any)) error {
	over, collected := make(chan struct{}), make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() { r.limitWait(ctx, collected, over, note) })
	defer waiting.Wait()
	defer close(collected)
	for {
		lines, more := next(sent, r.flush)
		if !more {
			break
		}
		for i := range lines {
			l := &lines[i]
			if l.answered.Load() {
				r.add(l.number, l.receipt, l.err)
				continue
			}
			r.flush() // show what is written before waiting
			if r.awaited.await(l, over) {
				r.add(l.number, l.receipt, l.err)
			} else {
				r.add(l.number, receipt{}, fmt.Errorf("%w: %w", errNotAnswered, context.Cause(ctx)))
			}
		}
	}
	r.flush()
	switch {
	case r.broken != nil:
		return r.unwritable()
	case r.failed != nil:
		return r.failed.fault(r.goOn)
	}
	return nil
}

// limitWait closes over when interruptGrace has passed since ctx was done. It returns then, or when collected is closed.
func (r *receipts) limitWait(ctx context.Context, collected <-chan struct{}, over chan<- struct{}, note func(format string, args ...any)) {
	select {
	case <-ctx.Done():
	case <-collected:
		return
	}
	select {
	case <-time.After(noteWaitAfter):
	case <-collected:
		return
	}
	note("tidings: %v: waiting up to %v for the log to answer; who ends it sooner goes on with --id %s --from-line %d",
		context.Cause(ctx), interruptGrace, r.goOn.id, r.goOnAt.Load())
	select {
	case <-time.After(interruptGrace - noteWaitAfter):
		close(over)
	case <-collected:
	}
}

// next receives a value from a channel. If it has to block, it calls idle first.
func next[T any](from <-chan T, idle func()) (v T, more bool) {
	select {
	case v, more = <-from:
	default:
		idle()
		v, more = <-from
	}
	return v, more
}

// add prints or keeps the outcome of a line.
func (r *receipts) add(line int, where receipt, err error) {
	switch {
	case err == nil:
		r.emitted.Add(1)
		r.write(where)
		if r.failed != nil {
			r.failed.after = append(r.failed.after, line)
			return
		}
		r.goOnAt.Store(int64(line) + 1)
		return
	case errors.Is(err, errNotSent):
		return
	case r.failed == nil:
		r.failed = &failedLine{number: line, err: err, before: r.durable()}
		r.stop()
	}
	why, ok := errors.AsType[*tidings.UnacknowledgedError](err)
	if ok && why.MayBeInLog || errors.Is(err, errNotAnswered) {
		r.failed.doubt = append(r.failed.doubt, line)
	}
}

// write prints one receipt. After an error of the output it does nothing.
func (r *receipts) write(where receipt) {
	if r.broken != nil {
		return
	}
	r.line = where.append(r.line[:0], r.format)
	_, err := r.out.Write(r.line)
	r.broke(err)
}

// append appends the receipt as one line. It is for the ids of lines: neither they nor the names of topics have a character
// that JSON escapes or a terminal cannot show.
func (r receipt) append(b []byte, format shell.Format) []byte {
	id, topic, partition, offset, end := "", "\t", "\t", "\t", "\n"
	if format.Machine() {
		id, topic, partition, offset, end = `{"id":"`, `","topic":"`, `","partition":`, `,"offset":`, "}\n"
	}
	b = append(append(b, id...), r.ID...)
	b = append(append(b, topic...), r.Topic...)
	b = strconv.AppendInt(append(b, partition...), int64(r.Partition), 10)
	b = strconv.AppendInt(append(b, offset...), r.Offset, 10)
	return append(b, end...)
}

func (r *receipts) flush() { r.broke(r.out.Flush()) }

// broke keeps the first error of writing to the output, and stops the sending of further lines.
func (r *receipts) broke(err error) {
	if err != nil && r.broken == nil {
		r.broken = err
		r.stop()
	}
}

// unwritable returns the fault for an output that does not take the receipts. Its hint tells which events are durable and how
// to go on with the others.
func (r *receipts) unwritable() error {
	f := *shell.AsFault(r.broken)
	f.Message = "the receipts cannot be written: " + r.broken.Error()
	if r.failed != nil {
		f.Hint = r.failed.hint(r.goOn)
		return &f
	}
	f.Hint = durableEvents(r.durable()) + ": those of all lines of stdin"
	return &f
}

// fault returns the fault for the failed line. Its hint tells which events are durable and how to go on.
func (l *failedLine) fault(goOn continuation) error {
	f := l.cause()
	f.Err = l.err
	f.Message = fmt.Sprintf("stdin, line %d: %s", l.number, f.Message)
	if bad, ok := errors.AsType[*jsonError](l.err); ok {
		f.Message = fmt.Sprintf("stdin, line %d, column %d: %v", l.number, bad.column, bad.err)
	}
	f.Hint = l.hint(goOn)
	return f
}

// durableEvents returns how many events are durable, as the beginning of a hint.
func durableEvents(n int) string {
	if n == 1 {
		return "1 event was emitted and durable"
	}
	return shell.Plural(n, "event") + " were emitted and durable"
}

// hint returns which events are durable and how to go on with the failed line.
func (l *failedLine) hint(goOn continuation) string {
	hint := durableEvents(l.before)
	if len(l.after) > 0 {
		hint += fmt.Sprintf(" before it, and after it also %s, since many are on their way at a time", lineRanges(l.after))
	}
	if len(l.doubt) > 0 {
		hint += fmt.Sprintf("; of %s it is not known (ids %s-LINE)", lineRanges(l.doubt), goOn.id)
	}
	hint += fmt.Sprintf("; go on with the same lines, each where it was: tidings emit … --id %s --from-line %d < FILE", goOn.id, l.number)
	switch {
	case len(l.after) == 0 && len(l.doubt) == 0:
	case goOn.subjects:
		hint += "; what is in the log already is then a copy, which reactions handle once"
	default:
		hint += "; without --subject what is in the log already may be handled twice: look for it with `tidings tail`, and make these lines blank"
	}
	return hint
}

// cause returns a fault for the error of the line alone.
func (l *failedLine) cause() *shell.Fault {
	if why, ok := errors.AsType[*tidings.UnacknowledgedError](l.err); ok {
		return unacknowledgedFault(why)
	}
	f := *shell.AsFault(l.err)
	if f.Exit == shell.ExitFailed {
		f.Code = "bad_input"
	}
	return &f
}

// unacknowledgedFault returns the fault for an event that the log has not acknowledged in time. Its message lacks the advice of
// err, which is for programs in Go.
func unacknowledgedFault(err *tidings.UnacknowledgedError) *shell.Fault {
	f := *shell.AsFault(err)
	if f.Exit == shell.ExitInterrupted {
		return &f
	}
	why := logclient.Unacknowledged{
		Topic: err.Topic, Partition: err.Partition, Addresses: err.Addresses, Tried: err.Tried, MayBeInLog: err.MayBeInLog, Err: err.Err,
	}
	f.Message = fmt.Sprintf("%s not emitted: %v", err.Fact, &why)
	return &f
}

// maxLineRanges is the maximum number of ranges in a result of lineRanges.
const maxLineRanges = 20

// lineRanges returns ascending line numbers as text, with ranges joined: "line 7", "lines 7-9, 12".
func lineRanges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		first := i
		for i++; i < len(numbers) && numbers[i] == numbers[i-1]+1; i++ {
		}
		if len(parts) == maxLineRanges {
			parts = append(parts, fmt.Sprintf("and %d more", len(numbers)-first))
			break
		}
		part := strconv.Itoa(numbers[first])
		if i-1 > first {
			part += "-" + strconv.Itoa(numbers[i-1])
		}
		parts = append(parts, part)
	}
	noun := "lines "
	if len(numbers) == 1 {
		noun = "line "
	}
	return noun + strings.Join(parts, ", ")
}
