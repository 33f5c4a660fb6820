package client

import (
	"fmt"
	"io"
	"time"

	"tidings.dev/internal/cli/shell"
)

// progressEvery is the interval at which watchEmitted updates the progress line.
const progressEvery = 500 * time.Millisecond

// watchEmitted shows on stderr how many events are durable, in one line that it overwrites, until stop is called. It
// shows nothing if stderr is not a terminal, or if stdout is one, because stdout then gets a line for each event.
func watchEmitted(s *shell.Session, r *receipts) (stop func()) {
	if !shell.IsTerminal(s.Stderr) || shell.IsTerminal(s.Stdout) {
		return func() {}
	}
	tick := time.NewTicker(progressEvery)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		writeProgress(s.Stderr, r.durable, tick.C, over)
	}()
	return func() {
		tick.Stop()
		close(over)
		<-ended
	}
}

// clearLine moves the cursor to the start of the line of a terminal and clears the line.
const clearLine = "\r\033[K"

// writeProgress writes a line at each tick, and clears the line and returns when over is closed.
func writeProgress(w io.Writer, durable func() int, tick <-chan time.Time, over <-chan struct{}) {
	for last := 0; ; {
		select {
		case <-over:
			fmt.Fprint(w, clearLine)
			return
		case <-tick:
			now := durable()
			rate := float64(now-last) / progressEvery.Seconds()
			fmt.Fprintf(w, "%s%s durable  %.0f/s", clearLine, shell.Plural(now, "event"), rate)
			last = now
		}
	}
}
