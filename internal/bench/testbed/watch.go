package testbed

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"tidings.dev/internal/bench"
)

// watchInterval is the interval at which Watch updates the line.
const watchInterval = 500 * time.Millisecond

// Watch shows the stage and the rate of a benchmark's progress on a terminal, in one line that it overwrites, until
// stop is called. If w is not a terminal, it shows nothing.
func Watch(w io.Writer, progress *bench.Progress) (stop func()) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		var l progressLine
		for {
			select {
			case <-over:
				fmt.Fprint(w, clearLine)
				return
			case <-tick.C:
				fmt.Fprint(w, clearLine, l.next(progress.Now()))
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// clearLine moves the cursor to the start of the line of a terminal and clears the line.
const clearLine = "\r\033[K"

// progressLine computes the line that Watch shows.
type progressLine struct {
	stage string
	done  int64 // count at the last call of next
}

// next returns the line for the given stage and count: the name of the stage, and the rate since the last call if the
// count has grown.
func (l *progressLine) next(stage string, done int64) string {
	if stage != l.stage || done < l.done {
		l.done = done
	}
	rate := float64(done-l.done) / watchInterval.Seconds()
	l.stage, l.done = stage, done
	if stage == "" || rate == 0 {
		return stage
	}
	return fmt.Sprintf("%s  %s/s", stage, bench.Thousands(rate))
}
