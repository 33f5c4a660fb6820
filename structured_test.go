package tidings_test

import (
	"context"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
)

// An event that another program wrote in structured mode, all of it in the value, is handled like any other.
func TestAnEventInStructuredModeIsHandled(t *testing.T) {
	type reading struct{ V string }
	taken := tidings.Define[reading]("plant.reading.taken", tidings.In("orders", tidings.Partitions(4)))
	where := keep(t)
	app := open(t, "plant", where)
	handled := make(chan tidings.Event[reading], 1)
	tidings.React(app, taken, func(_ context.Context, e tidings.Event[reading]) error {
		handled <- e
		return nil
	})
	run := start(t, app)
	value, err := os.ReadFile("internal/cloudevent/testdata/structured.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := client(t, where).ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: value, Headers: []kgo.RecordHeader{
		{Key: cloudevent.HeaderContentType, Value: []byte("application/cloudevents+json; charset=UTF-8")},
	}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	e := <-handled
	run.stop()
	if e.ID != "st-1" || e.Type != "plant.reading.taken" || e.Subject != "s/1" || e.Source != "/py" || e.Data.V != "structured" {
		t.Errorf("%+v", e)
	}
}
