package story

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
)

// TestALogThatHasGoneBackIsNoticed compares what an index remembers of a partition with what the log answers. The log
// has gone back if the index has read further than the log reaches, or if a leader epoch does not end where the index
// has read its end.
func TestALogThatHasGoneBackIsNoticed(t *testing.T) {
	end := func(epoch int32, offset int64) *logclient.EpochEnd {
		return &logclient.EpochEnd{Epoch: epoch, Offset: offset}
	}
	one := reading{100, tail{epoch: 3, first: 0, before: -1, last: 99}} // epoch 3 up to offset 100
	// epoch 3 up to offset 120, epoch 4 up to 130
	two := reading{130, tail{epoch: 4, first: 120, before: 3, end: 120, last: 129}}
	// offsets 110 to 124 were compacted away
	gap := reading{130, tail{epoch: 4, first: 125, before: 3, end: 110, last: 129}}
	// nothing was read, because retention had removed all records
	unknown := reading{50, tail{epoch: -1, before: -1, last: -1}}
	for name, c := range map[string]struct {
		read reading
		log  logged
		fits bool
	}{
		"nothing new":   {one, logged{0, 100, end(3, 100), nil}, true},
		"more records":  {one, logged{0, 200, end(3, 200), nil}, true},
		"a later epoch": {one, logged{0, 200, end(3, 110), nil}, true},
		"the later epoch begins where the index is":   {one, logged{0, 200, end(3, 100), nil}, true},
		"the log is shorter":                          {one, logged{0, 99, end(3, 99), nil}, false},
		"the log is shorter, and has grown":           {one, logged{0, 200, end(3, 90), nil}, false},
		"the log has only earlier epochs":             {one, logged{0, 200, end(2, 200), nil}, false},
		"the log's epochs are all earlier":            {one, logged{0, 200, end(-1, -1), nil}, false},
		"retention has removed all":                   {one, logged{100, 100, end(-1, -1), nil}, true},
		"retention has removed all, and more came":    {one, logged{150, 200, end(3, 150), nil}, true},
		"retention has removed a part":                {one, logged{40, 200, end(3, 150), nil}, true},
		"both epochs end where they were read":        {two, logged{0, 200, end(4, 200), end(3, 120)}, true},
		"a restored log has come to epoch 4, too":     {two, logged{0, 200, end(4, 200), end(3, 100)}, false},
		"the original has come to epoch 4, too":       {two, logged{0, 200, end(4, 200), end(3, 125)}, false},
		"epoch 3 is not there":                        {two, logged{0, 200, end(4, 200), end(2, 90)}, false},
		"retention has removed epoch 3":               {two, logged{125, 200, end(4, 200), end(3, 125)}, true},
		"retention has removed epoch 3 and its entry": {two, logged{125, 200, end(4, 200), end(-1, -1)}, true},
		"no epochs are known":                         {two, logged{0, 200, nil, nil}, true},
		"epoch 3 ended among what was compacted":      {gap, logged{0, 200, end(4, 200), end(3, 120)}, true},
		"epoch 3 ended before what was compacted":     {gap, logged{0, 200, end(4, 200), end(3, 105)}, false},
		"nothing was read":                            {unknown, logged{50, 200, nil, nil}, true},
		"nothing was read, and the log is shorter":    {unknown, logged{0, 20, nil, nil}, false},
	} {
		if why := c.read.misfit(c.log); (why == "") != c.fits {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// TestTheIndexRemembersTheTailsOfPartitions checks what the index keeps of each partition: where the last leader epoch
// that it has read begins, where the epoch before it ends, and the last record.
func TestTheIndexRemembersTheTailsOfPartitions(t *testing.T) {
	ix := openTest(t)
	record := func(offset int64, leaderEpoch int32, value string) *kgo.Record {
		return &kgo.Record{Topic: "orders", Offset: offset, LeaderEpoch: leaderEpoch, Value: []byte(value), Timestamp: epoch}
	}
	must(t, ix.Apply([]*kgo.Record{record(5, 0, "a"), record(6, 0, "b")}))
	must(t, ix.Apply([]*kgo.Record{record(9, 2, "c"), record(10, 2, "d")}))
	must(t, ix.Apply([]*kgo.Record{record(11, 3, "e"), record(13, 3, "f")}))
	must(t, ix.Close())
	ix, err := OpenIndex(ix.path, nil)
	must(t, err)
	defer ix.Close()
	must(t, ix.setTopics([]logclient.Topic{{Name: "orders", Partitions: 1}}))
	got := ix.readings([]logclient.Topic{{Name: "orders", Partitions: 2}})["orders"]
	want := reading{14, tail{epoch: 3, first: 11, before: 2, end: 11, last: 13, sum: hashOf(record(13, 3, "f"))}}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, in place of %+v", got, want)
	}
	if at := ix.readFrom("orders", 0); at != 13 {
		t.Errorf("reading begins at %d, and not with the last record", at)
	}
	if err := ix.differs([]*kgo.Record{record(12, 3, "x"), record(13, 3, "f"), record(14, 3, "g")}); err != nil {
		t.Error(err)
	}
	if err := ix.differs([]*kgo.Record{record(13, 3, "another")}); err == nil {
		t.Error("another record at an offset that was read is not noticed")
	}
	// Case: the index is emptied.
	must(t, ix.empty())
	if s := ix.Stats(); s != (Stats{}) || ix.position("orders", 0) != 0 || len(ix.readings([]logclient.Topic{{Name: "orders", Partitions: 1}})["orders"]) > 0 {
		t.Errorf("%+v", s)
	}
	must(t, ix.Apply([]*kgo.Record{record(0, 0, "a")}))
	if s := ix.Stats(); s.Events != 1 {
		t.Errorf("%+v", s)
	}
}
