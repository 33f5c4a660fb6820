package quietlog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/quietlog"
)

// open returns a logger and what it has written, one line for each call.
func open() (*slog.Logger, func() []string) { return openWith(quietlog.New) }

// openWith is open with the handler that of returns.
func openWith(of func(slog.Handler) slog.Handler) (*slog.Logger, func() []string) {
	var b strings.Builder
	log := slog.New(of(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
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

// A peer that sends what cannot be read for three minutes has three lines of each cause, which count what was left out;
// the first line of another peer is written at once.
func TestAPeerHasOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := openWith(quietlog.NewForPeers)
		for i := range 180 {
			for range 100 {
				log.Warn("closed", "client", "/192.0.2.1", "reason", fmt.Errorf("a frame of %d bytes", i))
				log.Warn("closed", "client", "/192.0.2.1", "reason", fmt.Errorf("unsupported: key %d", i))
			}
			if i == 90 {
				log.Warn("closed", "client", "/192.0.2.2", "reason", errors.New("a frame of 1 bytes"))
			}
			time.Sleep(time.Second)
		}
		got := lines()
		if len(got) != 7 || !strings.HasSuffix(got[6], `reason="unsupported: key 120" repeated=5999`) || !strings.Contains(got[4], "/192.0.2.2") {
			t.Errorf("%d lines: %s", len(got), strings.Join(got, "\n"))
		}
	})
}

// However many peers there are, few are remembered: the others have one line a minute together.
func TestPeersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := openWith(quietlog.NewForPeers)
		for minute := range 2 {
			for i := range 20_000 {
				log.Warn("closed", "client", fmt.Sprint("/peer", i))
			}
			got := lines()
			if want := (minute + 1) * (1024 + 1); len(got) != want {
				t.Fatalf("%d lines in minute %d, want %d", len(got), minute, want)
			}
			if minute == 1 && !strings.HasSuffix(got[len(got)-1], fmt.Sprint("repeated=", 20_000-1024-1)) {
				t.Errorf("the last line does not count those that were left out: %s", got[len(got)-1])
			}
			time.Sleep(time.Minute)
		}
	})
}
