package tidings

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errGoexit is what isolated returns when the function that it calls ends its goroutine instead of returning.
var errGoexit = errors.New("it ended its goroutine (runtime.Goexit, as testing's FailNow does) in place of returning")

// isolated calls f on a new goroutine and waits for it. It returns a *failedRun if f panics, errGoexit if f ends its
// goroutine, and nil if f returns. The calling goroutine continues in each case; isolated is for users' functions that
// the framework's own goroutines call.
func isolated(f func()) error {
	err := errGoexit
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = &failedRun{text: panicText(p), stack: debug.Stack()}
			}
		}()
		f()
		err = nil
	}()
	<-done
	return err
}

// panicText returns the text of an error for a recovered panic value. It does not panic itself: fmt recovers if a
// method of value panics.
func panicText(value any) string { return fmt.Sprintf("panic: %v", value) }
