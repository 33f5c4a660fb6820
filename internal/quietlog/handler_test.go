package quietlog_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/quietlog"
)

// open returns a logger and what it has written, one line for each call.
func open() (*slog.Logger, func() []string) {
	var b strings.Builder
	log := slog.New(quietlog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	return log, func() []string { return strings.Split(strings.TrimSpace(b.String()), "\n") }
}

// A loop that fails 100,000 times in ten seconds writes a line a second, which counts what was left out.
func TestAWarningIsWrittenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := open()
		for i := range 100_000 {
			log.Warn("cannot read", "topic", "orders", "partition", i%16, "error", fmt.Errorf("dial tcp 127.0.0.1:%d: refused", i))
			time.Sleep(100 * time.Microsecond)
		}
		got := lines()
		if len(got) != 10 || strings.Contains(got[0], "repeated") || !strings.HasSuffix(got[9], "repeated=9999") {
			t.Errorf("%d lines: %s", len(got), strings.Join(got, "\n"))
		}
	})
}

// Lines of other causes, and those that are no warnings, are all written.
func TestOtherLinesAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := open()
		want := 0
		for range 3 {
			log.Info("joined")
			want++
		}
		for _, reaction := range []string{"payment", "email"} {
			scoped := log.With("reaction", reaction)
			for _, topic := range []string{"orders", "parcels"} {
				for _, failure := range []string{"refused", "no such topic"} {
					for range 5 {
						scoped.Warn("cannot read", "topic", topic, "error", failure)
					}
					scoped.WithGroup("g").Error("cannot write", "topic", topic, "err", failure)
					want += 2
				}
			}
		}
		if got := lines(); len(got) != want {
			t.Errorf("%d lines, want %d: %s", len(got), want, strings.Join(got, "\n"))
		}
	})
}

// However many causes there are, few are remembered, and each is written at least once.
func TestCausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := open()
		for i := range 5000 {
			log.Warn(fmt.Sprint("cause ", i))
		}
		log.Warn("cause 4999")
		if got := lines(); len(got) != 5000 {
			t.Errorf("%d lines", len(got))
		}
	})
}
