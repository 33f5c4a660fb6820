package reactor

import (
	"reflect"
	"testing"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// What a round has not written down is part of the next: the marks reach from the first emission of either to the last, apart for each
// leader epoch.
func TestMarksReachAsFarAsTheFurthestEmission(t *testing.T) {
	mails, bills := emittedTo{topic: "mails", id: obligation.TopicID{1}, epoch: 4}, emittedTo{"bills", obligation.TopicID{2}, 3, 4}
	later5 := mails
	later5.epoch = 5 // the broker has started again
	at := func(to emittedTo, lo, hi int64) reached { return reached{to, offsets.Range{Lo: lo, Hi: hi}} }
	var failed, later summary
	failed.emitted.add(5, []reached{at(mails, 19, 20), at(bills, 6, 7)})
	failed.emitted.add(6, nil)
	later.emitted.add(7, []reached{at(mails, 17, 19)})
	later.emitted.add(8, []reached{at(mails, 22, 24), at(later5, 1000, 1001)})
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
		want := []obligation.Position{
			{Topic: "bills", TopicID: obligation.TopicID{2}, Partition: 3, Offset: 7, Span: 1},
			{Topic: "mails", TopicID: obligation.TopicID{1}, Offset: 24, Span: 7}, {Topic: "mails", TopicID: obligation.TopicID{1}, Offset: 1001, Span: 1},
		}
		if !reflect.DeepEqual(m.Through, want) {
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
