package tidings

import (
	"errors"
	"fmt"
	"time"

	"tidings.dev/internal/delivery"
)

// A handler's error says what should happen next. Any error means: try again, after the reaction's backoff, without
// limit; later events of the same subject wait, other subjects do not. RetryAfter and Skip say something else. They may
// be wrapped.

// RetryAfter makes the next attempt wait for d (0 or less: no wait) in place of the backoff. A nil err is allowed.
func RetryAfter(d time.Duration, err error) error {
	return &retryAfter{delay: max(d, 0), err: err}
}

// Skip makes the event count as done without being handled. The reason is recorded and shown in its story; what the
// handler has emitted before is dropped.
func Skip(reason string) error { return &skipped{reason: reason} }

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

type skipped struct{ reason string }

func (e *skipped) Error() string { return "skipped: " + e.reason }

// BackoffPolicy says how long to wait before the next attempt. Made by Backoff.
type BackoffPolicy struct{ b delivery.Backoff }

// Backoff waits about min before the second attempt and twice as long before each further one, up to max, with a jitter
// of ±20 %. It never gives up. It panics unless 0 < min ≤ max.
func Backoff(min, max time.Duration) BackoffPolicy {
	if min <= 0 || max < min {
		panic(fmt.Sprintf("tidings: Backoff(%v, %v): needs 0 < min ≤ max", min, max))
	}
	return BackoffPolicy{delivery.Backoff{Min: min, Max: max}}
}

var defaultBackoff = delivery.Backoff{Min: 100 * time.Millisecond, Max: time.Minute}

// classify turns a handler's error into what the delivery should do.
func classify(err error, backoff delivery.Backoff, attempt int) (skip string, isSkip bool, delay time.Duration) {
	if s, ok := errors.AsType[*skipped](err); ok {
		return s.reason, true, 0
	}
	if r, ok := errors.AsType[*retryAfter](err); ok {
		return "", false, r.delay
	}
	return "", false, backoff.Delay(attempt)
}
