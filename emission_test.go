package tidings_test

import (
	"context"
	"strings"
	"testing"

	"tidings.dev"
)

// An event whose names could not be kept as they are is refused with a text that says what to do, outside of handlers and
// inside, and nothing of it is in the log.
func TestNamesThatCannotBeKeptAreRefused(t *testing.T) {
	where := keep(t)
	var seen journal
	app := open(t, "shop", where)
	refused := make(chan error, 1)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		seen.note(e)
		_, err := captured.Emit(ctx, order{ID: "\xff"})
		refused <- err
		return nil
	})
	run := start(t, app)
	long := strings.Repeat("x", 513)
	for want, emit := range map[string]func() error{
		"subject \"order/\\xff\" is not valid UTF-8": func() error { _, err := placed.Emit(run.ctx, order{ID: "\xff"}); return err },
		"id \"\\xff\" is not valid UTF-8":            func() error { _, err := placed.Emit(run.ctx, order{}, tidings.ID("\xff")); return err },
		"has 513 bytes, and at most 512":             func() error { _, err := placed.Emit(run.ctx, order{}, tidings.ID(long)); return err },
		"the correlation \"xxxx": func() error {
			_, err := placed.Emit(tidings.WithCorrelation(run.ctx, long), order{})
			return err
		},
		"correlation \"\\xff\" is not valid UTF-8": func() error {
			_, err := placed.Emit(tidings.WithCorrelation(run.ctx, "\xff"), order{})
			return err
		},
	} {
		if err := emit(); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "shop.order.placed not emitted: ") {
			t.Errorf("%v, want one that says %s", err, want)
		}
	}
	run.emit(placed, order{ID: "1"}, tidings.ID(long[:512]))
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "subject") {
		t.Errorf("inside a handler: %v", err)
	}
	run.stop()
	if n := len(dump(t, where, "orders")); n != 1 {
		t.Errorf("%d records", n)
	}
}
