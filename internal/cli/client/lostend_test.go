package client

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/broker"
	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// Case: the broker starts anew, and then marks come of events that its log has lost: they are of the leader epoch before, and name the
// places of events that came since. These are not done.
func TestGroupShowDoesNotBelieveMarksOfLostEvents(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	open := func() *broker.Broker {
		b, err := broker.Open(broker.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	p := startPorter(t, dir)
	p.open("a", "b")
	p.await("a b")
	s := program(t).On(dir)
	untilShown(t, s, "porter\tStable\t1\t0\t", "group", "ls")
	p.halt()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	defer b.Close()
	shop := openApp(t, "shop", dir)
	for _, id := range []string{"c", "d"} {
		if _, err := doorOpened.Emit(shop.Context(t.Context()), door{Door: id}, tidings.ID(id)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := connect(t.Context(), &shell.Session{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	topic, err := conn.log.Find(t.Context(), "doors")
	if err != nil {
		t.Fatal(err)
	}
	before := int32(0)
	late := &obligation.Marks{Reaction: "porter", Topic: "doors", TopicID: obligation.TopicID(topic.ID), Leader: &before, Done: []offsets.Range{{Lo: 2, Hi: 4}}, Position: 4}
	if err := conn.log.ProduceSync(t.Context(), &kgo.Record{Topic: late.RecordTopic(), Key: []byte(late.Key()), Value: obligation.Encode(late)}); err != nil {
		t.Fatal(err)
	}
	s.Want(s.Run("group", "ls"), 0, "porter\tEmpty\t0\t2\t")
	s.Want(s.Run("group", "seek", "porter", "--topic", "doors", "--event", "c", "--jump"), 2, "home.door.opened\t0\t1")
}
