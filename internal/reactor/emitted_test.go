package reactor

import (
	"reflect"
	"testing"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// What a round has not written down is part of the next: the marks reach as far as the furthest emission of either.
func TestMarksReachAsFarAsTheFurthestEmission(t *testing.T) {
	mails, bills := obligation.Position{Topic: "mails", TopicID: obligation.TopicID{1}}, obligation.Position{Topic: "bills", Partition: 3, TopicID: obligation.TopicID{2}}
	at := func(p obligation.Position, end int64) obligation.Position {
		p.Offset = end
		return p
	}
	var failed, later summary
	failed.emitted.add(5, []obligation.Position{at(mails, 20), at(bills, 7)})
	failed.emitted.add(6, nil)
	later.emitted.add(7, []obligation.Position{at(mails, 19)})
	later.emitted.add(8, []obligation.Position{at(mails, 24)})
	failed.add(later)
	part := finished{topicPartition: topicPartition{"orders", 0}, done: []offsets.Range{{Lo: 5, Hi: 9}}, summary: failed}
	c := &atLeastOnce{reaction: "email"}
	for name, parts := range map[string][]finished{"whole": {part}, "bare": bare([]finished{part})} {
		records := c.marks(parts, obligation.MaxMarks)
		if len(records) != 1 {
			t.Fatalf("%s: %d records", name, len(records))
		}
		f, err := obligation.Decode(records[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		m := f.(*obligation.Marks)
		if want := []offsets.Range{{Lo: 5, Hi: 6}, {Lo: 7, Hi: 9}}; !reflect.DeepEqual(m.Emitted, want) {
			t.Errorf("%s: emitted %v, want %v", name, m.Emitted, want)
		}
		if want := []obligation.Position{at(bills, 7), at(mails, 24)}; !reflect.DeepEqual(m.Through, want) {
			t.Errorf("%s: through %+v, want %+v", name, m.Through, want)
		}
	}
	// Case: nothing was emitted. That is said, too.
	part.summary = summary{}
	f, err := obligation.Decode(c.marks([]finished{part}, obligation.MaxMarks)[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if m := f.(*obligation.Marks); m.Emitted == nil || len(m.Emitted) != 0 {
		t.Errorf("emitted %v", m.Emitted)
	}
}
