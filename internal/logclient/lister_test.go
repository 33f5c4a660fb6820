package logclient_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/logclient"
)

// A lister gives the same listing until a topic is made, grows, is deleted, or is made again under the same name.
func TestListerSeesEachChange(t *testing.T) {
	c := open(t)
	ctx := t.Context()
	adm := kadm.NewClient(c.Client())
	lister := c.Lister(func(name string) bool { return name != "others" })
	last, err := lister.List(ctx)
	if err != nil || len(last.Topics) != 0 || last.Cluster == "" {
		t.Fatalf("of no topics: %+v, %v", last, err)
	}
	var first [16]byte
	for _, step := range []struct {
		what   string
		change func() error
		want   int32 // partitions of the topic orders; 0: it is not there
	}{
		{"nothing", func() error { return nil }, 0},
		{"made", func() error { _, err := adm.CreateTopic(ctx, 2, -1, nil, "orders"); return err }, 2},
		{"another is made", func() error { _, err := adm.CreateTopic(ctx, 1, -1, nil, "others"); return err }, 2},
		{"grown", func() error { _, err := adm.UpdatePartitions(ctx, 5, "orders"); return err }, 5},
		{"deleted", func() error { _, err := adm.DeleteTopic(ctx, "orders"); return err }, 0},
		{"made again", func() error { _, err := adm.CreateTopic(ctx, 2, -1, nil, "orders"); return err }, 2},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		got, err := lister.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if (got == last) != (step.what == "nothing") {
			t.Errorf("%s: the listing is the same: %t", step.what, got == last)
		}
		topic := logclient.Topic{}
		if len(got.Topics) > 0 {
			topic = got.Topics[0]
		}
		if topic.Partitions != step.want || len(got.Leaders["orders"]) != int(step.want) || len(got.Topics) > 1 {
			t.Errorf("%s: %+v", step.what, got)
		}
		if again, err := lister.List(ctx); err != nil || again != got {
			t.Errorf("%s: listed again it is another, %v", step.what, err)
		}
		if step.what == "made" {
			first = topic.ID
		}
		last = got
	}
	if last.Topics[0].ID == first {
		t.Error("the topic that was made again has the id of the first")
	}
}
