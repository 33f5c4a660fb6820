package tidings_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// The shop defines a fact on one topic, and email on another. Whoever comes second is warned, in the one order and in the
// other; who has the same topic is not.
func TestAFactOnTwoTopicsIsWarnedOf(t *testing.T) {
	const name = "test.parcel.packed"
	onParcels := tidings.Define[order](name, tidings.In("parcels"), tidings.Subject(about))
	onStock := tidings.Define[order](name, tidings.In("stock"), tidings.Subject(about))
	nothing := func(context.Context, tidings.Event[order]) error { return nil }
	logs := map[string]*logged{}
	begun := func(app string, where tidings.Connection) *tidings.App {
		logs[app] = &logged{}
		return open(t, app, where, tidings.WithLogger(logs[app].logger()))
	}
	emit := func(app *tidings.App, f *tidings.Fact[order]) {
		t.Helper()
		if _, err := f.Emit(app.Context(t.Context()), order{ID: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	react := func(app *tidings.App, f *tidings.Fact[order]) {
		t.Helper()
		tidings.React(app, f, nothing)
		start(t, app)
	}
	written := func(where tidings.Connection, facts int) {
		t.Helper()
		eventually(t, "it is written down", func() bool {
			n := len(factsIfAny[*obligation.Emission](t, where, obligation.SubscriptionsTopic))
			return n == facts
		})
	}

	// Case: email comes after the shop.
	where := keep(t)
	emit(begun("shop", where), onParcels)
	written(where, 1)
	react(begun("email", where), onStock)
	eventually(t, "email is warned", func() bool {
		return strings.Contains(logs["email"].String(), "fact test.parcel.packed is on two topics") &&
			strings.Contains(logs["email"].String(), "this app has it on stock, and app shop emits it on parcels")
	})
	react(begun("warehouse", where), onParcels) // same as the shop's, but not as email's
	eventually(t, "the warehouse is warned of email", func() bool {
		return strings.Contains(logs["warehouse"].String(), "reaction email listens to it on stock")
	})
	if strings.Contains(logs["warehouse"].String(), "app shop") {
		t.Errorf("the warehouse is warned of the shop, which has the same topic: %s", logs["warehouse"])
	}

	// Case: the shop comes after email.
	where = keep(t)
	react(begun("email", where), onStock)
	emit(begun("shop", where), onParcels)
	eventually(t, "the shop is warned", func() bool {
		return strings.Contains(logs["shop"].String(), "this app has it on parcels, and reaction email listens to it on stock")
	})

	// Case: an app that emitted the fact is gone since long, and another since a while.
	where = keep(t)
	emit(begun("stranger", where), tidings.Define[order]("test.parcel.lost", tidings.In("parcels"))) // makes the topics
	written(where, 1)
	for app, days := range map[string]int{"ancient": 31, "recent": 29} {
		e := &obligation.Emission{App: app, Type: name, Topic: "parcels", At: time.Now().AddDate(0, 0, -days)}
		write(t, where, &kgo.Record{Topic: e.RecordTopic(), Key: []byte(e.Key()), Value: obligation.Encode(e)})
	}
	react(begun("sorter", where), onStock)
	eventually(t, "it is warned of the app that may be there", func() bool {
		return strings.Contains(logs["sorter"].String(), "app recent emits it on parcels")
	})
	if strings.Contains(logs["sorter"].String(), "ancient") {
		t.Errorf("it is warned of an app that is gone: %s", logs["sorter"])
	}
	delete(logs, "sorter")

	// Case: all have one topic.
	where = keep(t)
	emit(begun("shop", where), onParcels)
	written(where, 1)
	react(begun("email", where), onParcels)
	emit(begun("returns", where), onParcels)
	written(where, 2)
	for app, log := range logs {
		if app != "warehouse" && strings.Contains(log.String(), "two topics") {
			t.Errorf("%s is warned: %s", app, log)
		}
	}
}
