package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
)

// An order is placed within a trace; payment captures, the warehouse ships. All three belong to one story and one trace,
// each names its cause, and on the wire each is a CloudEvent.
func TestAChainKeepsItsStory(t *testing.T) {
	where := keep(t)
	app := open(t, "payment", where)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		if id := tidings.Correlation(ctx); id != e.Correlation {
			t.Errorf("the context's correlation is %q, the event's %q", id, e.Correlation)
		}
		if cause, ok := tidings.Cause(ctx); !ok || cause.ID != e.ID || tidings.TraceParent(ctx) != e.TraceParent {
			t.Errorf("the context's cause is %+v", cause)
		}
		_, err := captured.Emit(ctx, e.Data)
		return err
	})
	tidings.React(app, captured, func(ctx context.Context, e tidings.Event[order]) error {
		r, err := shipped.Emit(ctx, e.Data, tidings.ID("parcel-7"))
		if r.ID != "parcel-7" || r.Offset != -1 || !errors.Is(r.Settled(ctx), tidings.ErrNotEmitted) {
			t.Errorf("the receipt inside a handler: %+v", r)
		}
		return err
	}, tidings.Named("warehouse"))
	run := start(t, app)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	at := time.Date(2011, 12, 9, 12, 50, 0, 0, time.UTC)
	receipt, err := placed.Emit(tidings.WithTraceParent(run.ctx, trace), order{ID: "536365"}, tidings.At(at))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is shipped", func() bool { return run.Stats()["warehouse"].Emitted == 1 })
	run.stop()

	records := map[string]*kgo.Record{}
	for _, r := range dump(t, where, "orders") {
		records[header(r, cloudevent.HeaderType)] = r
	}
	root, second, third := records[placed.Name()], records[captured.Name()], records[shipped.Name()]
	if len(records) != 3 {
		t.Fatalf("records: %v", records)
	}
	for typ, r := range records {
		want := map[string]string{
			cloudevent.HeaderSpecVersion: "1.0", cloudevent.HeaderSource: "payment", cloudevent.HeaderSubject: "order/536365",
			cloudevent.HeaderSchemaVersion: "1", cloudevent.HeaderContentType: "application/json", cloudevent.HeaderCorrelation: receipt.ID,
		}
		for key, value := range want {
			if got := header(r, key); got != value {
				t.Errorf("%s: %s is %q, want %q", typ, key, got, value)
			}
		}
		if string(r.Key) != "order/536365" || string(r.Value) != `{"id":"536365"}` || r.Partition != root.Partition {
			t.Errorf("%s: key %s, value %s, partition %d", typ, r.Key, r.Value, r.Partition)
		}
		if tp := header(r, cloudevent.HeaderTraceParent); !strings.HasPrefix(tp, trace[:36]) || tp[36:52] == trace[36:52] || !strings.HasSuffix(tp, "-01") {
			t.Errorf("%s: traceparent %q does not continue %q", typ, tp, trace)
		}
	}
	chain := []string{
		header(root, cloudevent.HeaderID), header(root, cloudevent.HeaderCausation), header(root, cloudevent.HeaderReaction), header(root, cloudevent.HeaderTime),
		header(second, cloudevent.HeaderCausation), header(second, cloudevent.HeaderReaction),
		header(third, cloudevent.HeaderID), header(third, cloudevent.HeaderCausation), header(third, cloudevent.HeaderReaction),
	}
	want := []string{
		receipt.ID, "", "", "2011-12-09T12:50:00Z",
		receipt.ID, "payment",
		"parcel-7", header(second, cloudevent.HeaderID), "warehouse",
	}
	if fmt.Sprint(chain) != fmt.Sprint(want) {
		t.Errorf("chain\n%q, want\n%q", chain, want)
	}
}

// Two runs of a handler make the same ids; each emission of a run has its own.
func TestIDsFollowFromTheCause(t *testing.T) {
	where := keep(t)
	app := open(t, "payment", where)
	var first []string
	done := make(chan []string, 1)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		var ids []string
		for _, o := range []order{{ID: "a"}, {ID: "a"}, {ID: "b"}} {
			r, err := captured.Emit(ctx, o)
			if err != nil {
				return err
			}
			ids = append(ids, r.ID)
		}
		if first == nil {
			first = ids
			return errors.New("fails after it has emitted")
		}
		done <- ids
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	second := <-done
	eventually(t, "it is done", func() bool { return run.Stats()["payment"].Handled == 1 })
	run.stop()
	if fmt.Sprint(first) != fmt.Sprint(second) || first[0] == first[1] || first[1] == first[2] {
		t.Errorf("first run %v, second run %v", first, second)
	}
	if n := len(dump(t, where, "orders")); n != 4 {
		t.Errorf("%d records: what the failed run emitted was sent", n)
	}
}

// A handler that emits with another context than its own is told so, and the emission begins a story of its own.
func TestDetachedEmissionsAreReported(t *testing.T) {
	where := keep(t)
	var log logged
	app := open(t, "payment", where, tidings.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	done := make(chan tidings.Receipt, 1)
	late := make(chan context.Context, 1)
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		if _, err := captured.Emit(context.Background(), e.Data); !errors.Is(err, tidings.ErrNoApp) {
			t.Errorf("without an app: %v", err)
		}
		r, err := captured.Emit(app.Context(context.Background()), e.Data)
		done <- r
		late <- ctx
		return err
	})
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	r := <-done
	ctx := <-late
	eventually(t, "it is done", func() bool { return run.Stats()["payment"].Handled == 1 })
	if r.Correlation != r.ID || run.DetachedEmissions() != 1 || !strings.Contains(log.String(), "without the handler's context") {
		t.Errorf("receipt %+v, %d detached, log %s", r, run.DetachedEmissions(), &log)
	}
	if _, err := captured.Emit(ctx, order{ID: "1"}); err == nil {
		t.Error("an emission after the handler has returned was accepted")
	}
	run.emit(placed, order{ID: "2"})
	<-done
	run.stop()
}

// A root emission may join a story that began elsewhere.
func TestARootMayJoinAStory(t *testing.T) {
	app := open(t, "shop", keep(t))
	ctx := tidings.WithCorrelation(app.Context(t.Context()), "the-story")
	r, err := placed.Emit(ctx, order{ID: "1"})
	if err != nil || r.Correlation != "the-story" || r.ID == "the-story" || r.Offset != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
