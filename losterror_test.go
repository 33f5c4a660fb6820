package tidings_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev"
)

// TestALossNamesWhatWasNotHandled deletes what a reaction has handled ahead of two stuck events together with these. Its error names
// the two and no others.
func TestALossNamesWhatWasNotHandled(t *testing.T) {
	where := keep(t)
	one := tidings.Define[order]("test.one.happened", tidings.In("single", tidings.Partitions(1)), tidings.Subject(about))
	react := func() *tidings.App {
		app := open(t, "audit", where)
		tidings.React(app, one, func(_ context.Context, e tidings.Event[order]) error {
			if e.Data.ID == "stuck" {
				return errors.New("no")
			}
			return nil
		}, tidings.FromBeginning(), tidings.Retry(tidings.Backoff(time.Minute, time.Minute)))
		return app
	}
	run := start(t, react())
	for _, id := range strings.Fields("a stuck b c stuck d e") {
		run.emit(one, order{ID: id})
	}
	eventually(t, "all others are handled", func() bool { return run.Stats()["audit"].Handled == 5 })
	run.stop()
	var o kadm.Offsets
	o.AddOffset("single", 0, 7, -1)
	deleted, err := kadm.NewClient(client(t, where)).DeleteRecords(t.Context(), o)
	if err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	err = react().Run(t.Context())
	lost, ok := errors.AsType[*tidings.LostError](err)
	if !ok || lost.From != 1 || lost.To != 5 || !slices.Equal(lost.Ranges, [][2]int64{{1, 2}, {4, 5}}) || !strings.Contains(err.Error(), "deleted offsets 1, 4 of single/0 ") {
		t.Errorf("%+v: %v", lost, err)
	}
}
