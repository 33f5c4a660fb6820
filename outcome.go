package tidings

import (
	"errors"
	"fmt"
	"time"

	"tidings.dev/internal/reactor"
)

// A handler's error decides what happens next. After any error but those of RetryAfter and Skip, the event is tried
// again after the reaction's backoff, without limit; later events of the same subject wait, those of other subjects do
// not. The errors of RetryAfter and Skip may be wrapped.

// RetryAfter returns an error that makes a handler's event be tried again after d instead of the backoff; 0 or less
// means at once. err is the cause, which is logged; it may be nil.
func RetryAfter(d time.Duration, err error) error {
	return &retryAfter{delay: max(d, 0), err: err}
}

// Skip returns an error that makes a handler's event count as done without being handled. The reason is recorded and
// shown in the event's story. Events that the handler has emitted in this run are dropped.
func Skip(reason string) error { return &skipped{reason: reason} }

// retryAfter is the error that RetryAfter returns.
type retryAfter struct {
	delay time.Duration
	err   error
}

func (e *retryAfter) Error() string {
	if e.err == nil {
		return fmt.Sprintf("to be retried after %v", e.delay)
	}
	return e.err.Error()
}

func (e *retryAfter) Unwrap() error { return e.err }

// skipped is the error that Skip returns.
type skipped struct{ reason string }

func (e *skipped) Error() string { return "skipped: " + e.reason }

// BackoffPolicy says how long to wait before each further attempt to handle an event. [Backoff] returns one; the zero
// value does not wait.
type BackoffPolicy struct{ b reactor.Backoff }

// Backoff returns the policy that waits for about min before the second attempt, and twice as long before each further
// one, up to max. Waits differ at random by up to 20 % either way. The number of attempts is not limited. Backoff
// panics unless 0 < min ≤ max.
func Backoff(min, max time.Duration) BackoffPolicy {
	if min <= 0 || max < min {
		panic(fmt.Sprintf("tidings: Backoff(%v, %v): needs 0 < min ≤ max", min, max))
	}
	return BackoffPolicy{reactor.Backoff{Min: min, Max: max}}
}

// defaultBackoff is the policy of reactions without Retry.
var defaultBackoff = reactor.Backoff{Min: 100 * time.Millisecond, Max: time.Minute}

// outcomeOf returns the outcome of a handler's run that has returned err, which is not nil. The outcome does not keep
// err.
func outcomeOf(err error) reactor.Outcome {
	if s, ok := errors.AsType[*skipped](err); ok {
		return reactor.Outcome{Skip: &s.reason}
	}
	failed := &failedRun{text: err.Error()}
	if r, ok := errors.AsType[*retryAfter](err); ok {
		failed.delay = &r.delay
	}
	return reactor.Outcome{Err: failed}
}

// failedRun is the error of a handler's run that has failed. It has only the text of the handler's error, so that its
// methods call none of the user's code, which might panic while the caller holds a lock.
// text is the text of the handler's error.
type failedRun struct {
	text  string
	delay *time.Duration // time until the next attempt; nil means that the backoff decides
	stack []byte         // the goroutine's stack, if the handler panicked
}

func (e *failedRun) Error() string { return e.text }

// Stack returns the stack of the goroutine that panicked, or nil if the handler did not panic. Package reactor logs
// it.
func (e *failedRun) Stack() []byte { return e.stack }

// delay returns how long to wait before the next attempt for an event of which so many attempts have failed, the last
// with err.
func (h *handler) delay(err error, failed int) time.Duration {
	if f, ok := errors.AsType[*failedRun](err); ok && f.delay != nil {
		return *f.delay
	}
	return h.backoff.Delay(failed)
}
