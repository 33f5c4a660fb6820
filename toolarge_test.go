package tidings_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
)

var (
	filed  = tidings.Define[string]("test.report.filed", tidings.In("reports", tidings.Partitions(1)))
	copied = tidings.Define[string]("test.report.copied", tidings.In("copies", tidings.Partitions(1)))
)

// setLimit changes max.message.bytes of a topic.
func setLimit(t *testing.T, where tidings.Connection, topic, bytes string) {
	t.Helper()
	answers, err := kadm.NewClient(client(t, where)).AlterTopicConfigs(t.Context(),
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}}, topic)
	if err != nil || len(answers) != 1 || answers[0].Err != nil {
		t.Fatal(answers, err)
	}
}

// An event may be as large as its topic's limit says, to the byte, and not larger; when the limit is raised or lowered under a
// running app, the new one holds, for events that are emitted together, too.
func TestAnEventMayBeAsLargeAsItsTopicSays(t *testing.T) {
	where := keep(t)
	app := open(t, "shop", where)
	ctx := app.Context(t.Context())
	emit := func(size int) error {
		return second(filed.Emit(ctx, strings.Repeat("x", size), tidings.ID("1"), tidings.At(time.Unix(1_000_000_000, 0))))
	}
	tooLarge := func(err error, size, limit int) *tidings.TooLargeError {
		t.Helper()
		e, ok := errors.AsType[*tidings.TooLargeError](err)
		if !ok || e.Topic != "reports" || e.Fact != filed.Name() || e.Limit != limit || e.Size < size || e.Size > size+1000 {
			t.Fatalf("%v", err)
		}
		return e
	}
	if err := emit(1_040_000); err != nil { // more than kgo's own limit, and less than the broker's
		t.Error(err)
	}
	e := tooLarge(emit(2_000_000), 2_000_000, 1048588)
	if !strings.Contains(e.Error(), "topic edit reports max.message.bytes=") || !strings.HasPrefix(e.Error(), "test.report.filed not emitted: it takes 200") {
		t.Error(e)
	}

	// Case: the limit is raised. It is asked for again at most once a second.
	const limit = 5_000_000
	setLimit(t, where, "reports", "5000000")
	eventually(t, "the new limit is known", func() bool { return emit(2_000_000) == nil })
	overhead := tooLarge(emit(limit), limit, limit).Size - limit
	if err := emit(limit - overhead); err != nil {
		t.Errorf("as large as the limit: %v", err)
	}
	tooLarge(emit(limit-overhead+1), limit-overhead+1, limit)

	// Case: the limit is lowered, and a batch of many events is too large for it, but none of the events is.
	setLimit(t, where, "reports", "100000")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := emit(60_000); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tooLarge(emit(200_000), 200_000, 100_000)
}

// A handler emits more than the topic takes. It gets the error from Emit, and what it returns decides.
func TestAHandlerGetsTheErrorOfAnEventThatIsTooLarge(t *testing.T) {
	where := keep(t)
	app := open(t, "archive", where)
	refused := make(chan error, 10)
	tidings.React(app, filed, func(ctx context.Context, e tidings.Event[string]) error {
		_, err := copied.Emit(ctx, strings.Repeat(e.Data, 2_000_000))
		refused <- err
		if _, is := errors.AsType[*tidings.TooLargeError](err); is {
			return tidings.Skip("too large to be copied")
		}
		return err
	})
	run := start(t, app)
	if _, err := filed.Emit(run.ctx, "x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was skipped", func() bool { return run.Stats()["archive"].Skipped == 1 })
	e, ok := errors.AsType[*tidings.TooLargeError](<-refused)
	if !ok || e.Topic != "copies" || e.Size < 2_000_000 || e.Limit != 1048588 {
		t.Errorf("%+v", e)
	}

	// Case: the limit is lowered when the app knows another. The broker refuses; the handler runs again and gets the error.
	lowered := open(t, "lowered", where)
	runs := make(chan error, 10)
	tidings.React(lowered, filed, func(ctx context.Context, e tidings.Event[string]) error {
		_, err := copied.Emit(ctx, strings.Repeat("x", 5000))
		runs <- err
		if err != nil {
			return tidings.Skip("too large")
		}
		setLimit(t, where, "copies", "1000") // after Emit has asked
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	setLimit(t, where, "copies", "100000")
	second := start(t, lowered)
	if _, err := filed.Emit(second.ctx, "x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was skipped", func() bool { return second.Stats()["lowered"].Skipped == 1 })
	if first := <-runs; first != nil {
		t.Errorf("the first run: %v", first)
	}
	if _, is := errors.AsType[*tidings.TooLargeError](<-runs); !is {
		t.Error("the second run got no error")
	}
	if s := second.Stats()["lowered"]; s.Retried != 1 {
		t.Errorf("%+v", s)
	}
}
