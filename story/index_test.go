package story

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// epoch is the time at which these tests begin.
var epoch = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

// after returns the time d after epoch.
func after(d time.Duration) time.Time { return epoch.Add(d) }

// testLog makes records for an index to apply, with offsets, as an application would produce them.
type testLog struct {
	ends    map[string]int64 // next offset by "topic/partition"
	records []*kgo.Record    // those that apply has not applied yet
}

func newTestLog() *testLog { return &testLog{ends: make(map[string]int64)} }

// append gives r the next offset of its partition.
func (l *testLog) append(r *kgo.Record) *kgo.Record {
	key := r.Topic + "/" + strconv.Itoa(int(r.Partition))
	r.Offset = l.ends[key]
	l.ends[key]++
	l.records = append(l.records, r)
	return r
}

// event appends a CloudEvent. If cause is empty, the event has no cause and no reaction.
func (l *testLog) event(topic, id, correlation, cause, reaction, typ, subject string, at time.Time) *kgo.Record {
	e := cloudevent.Event{ID: id, Type: typ, Source: "shop", Subject: subject, Time: at, Correlation: correlation, Data: []byte(`{}`)}
	if cause != "" {
		e.Causation, e.Reaction = cause, reaction
	}
	r := e.Record(topic)
	r.Key, r.Timestamp = []byte(subject), at
	return l.append(r)
}

// fact appends a fact about obligations.
func (l *testLog) fact(f obligation.Fact) {
	l.append(&kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f), Timestamp: epoch})
}

// copied appends the marks with which a reaction says that r is a copy of original.
func (l *testLog) copied(reaction string, r, original *kgo.Record) {
	l.fact(&obligation.Marks{Reaction: reaction, Topic: r.Topic, Partition: r.Partition,
		Copies: []obligation.Copy{{Offset: r.Offset, Of: original.Offset}}, Position: original.Offset})
}

// handled appends the marks with which a reaction says that it has handled r.
func (l *testLog) handled(reaction string, r *kgo.Record, finished time.Time, took time.Duration) {
	l.fact(&obligation.Marks{Reaction: reaction, Topic: r.Topic, Partition: r.Partition, Done: []offsets.Range{{Lo: r.Offset, Hi: r.Offset + 1}},
		Position: r.Offset + 1, Started: finished.Add(-took), Finished: finished, Times: []obligation.Timing{{Offset: r.Offset, Took: took, Finished: finished}}})
}

// subscribe appends the subscription of a reaction to a topic. Without types it is to all types.
func (l *testLog) subscribe(reaction, topic string, types ...string) {
	l.fact(&obligation.Subscription{Reaction: reaction, Topic: topic, Types: types, At: epoch})
}

// openTest opens an empty index, which is closed at the end of the test.
func openTest(t testing.TB) *Index {
	t.Helper()
	ix, err := OpenIndex(filepath.Join(t.TempDir(), "story.index"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

// apply applies the records of l that were not applied yet.
func apply(t testing.TB, ix *Index, l *testLog) {
	t.Helper()
	if err := ix.Apply(l.records); err != nil {
		t.Fatal(err)
	}
	l.records = nil
}

// TestTheFileKeepsWhatTheJudgeKnows compares index files with the model in memory, over random logs: both must agree on
// every story, in whatever order partitions are read, however large the transactions are, and however often the file is
// closed and opened.
func TestTheFileKeepsWhatTheJudgeKnows(t *testing.T) {
	seed := rand.Uint64()
	for game := range 40 {
		r := rand.New(rand.NewPCG(seed, uint64(game)))
		choose := func(n int, _ string) int { return r.IntN(n) }
		w := newWorld(choose)
		for range 50 + game*10 {
			w.step()
		}
		x := newModelIndexer(w, sabotage{})
		ix := openTest(t)
		var topics []logclient.Topic
		for n := topicNum(1); n <= 3; n++ {
			topics = append(topics, logclient.Topic{Name: topicName(n), ID: topicID(n), Partitions: 2})
		}
		if err := ix.setTopics(topics); err != nil {
			t.Fatal(err)
		}
		path := ix.path
		for left := true; left; {
			var batch []*kgo.Record
			left = false
			for _, p := range w.parts() {
				for range choose(20, "records") {
					if x.read[p] < int64(len(w.logs[p])) {
						batch = append(batch, w.record(location{p, x.read[p]}))
						x.take(p)
					}
				}
				left = left || x.read[p] < int64(len(w.logs[p]))
			}
			if err := ix.Apply(batch); err != nil {
				t.Fatal(err)
			}
			if choose(4, "reopen") == 0 {
				if err := ix.Close(); err != nil {
					t.Fatal(err)
				}
				var err error
				if ix, err = OpenIndex(path, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		var events int64
		for _, m := range x.m.stories {
			refs, err := ix.Find(m.correlation, 0)
			if err != nil || len(refs) != 1 {
				t.Fatalf("seed %d, game %d: %s: %v, %v", seed, game, m.correlation, refs, err)
			}
			var got *storyRow
			if err := ix.read(func(tx *readTx) error { got = tx.story(refs[0].num); return tx.err }); err != nil {
				t.Fatal(err)
			}
			if got.open != m.open || got.events != m.events || int(got.rows) != m.records {
				t.Fatalf("seed %d, game %d: %s: file has %+v, memory %+v", seed, game, m.correlation, got.standing, m.standing)
			}
			events += int64(m.events)
			// The number of obligations that the story shows as open must be the number that it counts.
			s, err := ix.Story(m.correlation, Live{})
			if err != nil {
				t.Fatal(err)
			}
			open := 0
			for e := range s.All {
				for _, o := range e.Obligations {
					if o.Open() {
						open++
					}
				}
			}
			if open != m.open {
				t.Fatalf("seed %d, game %d: %s: shows %d open, counts %d", seed, game, m.correlation, open, m.open)
			}
		}
		if st := ix.Stats(); st.Events != events || st.Stories != int64(len(x.m.stories)) || st.Open != st.Stories {
			t.Fatalf("seed %d, game %d: %+v for %d events of %d stories", seed, game, st, events, len(x.m.stories))
		}
		if due := len(ix.judge.pending); due != len(x.j.pending) {
			t.Fatalf("seed %d, game %d: %d stories are due, not %d", seed, game, due, len(x.j.pending))
		}
		ix.Close()
	}
}

// record returns an entry of the model as a record.
func (w *world) record(at location) *kgo.Record {
	e := w.logs[at.partition][at.offset]
	r := &kgo.Record{Topic: fmt.Sprint(at.topic), Partition: at.partition.partition, Offset: at.offset, LeaderEpoch: e.leader, Timestamp: epoch.Add(time.Duration(e.serial) * time.Millisecond)}
	if e.fact == nil {
		h := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
		r.Headers = []kgo.RecordHeader{h(cloudevent.HeaderID, e.id), h(cloudevent.HeaderType, fmt.Sprint(e.typ)), h(cloudevent.HeaderCorrelation, e.correlation)}
		return r
	}
	r.Topic = e.fact.RecordTopic()
	r.Key, r.Value = []byte(e.fact.Key()), obligation.Encode(e.fact)
	return r
}

// TestRecordsThatAreReadTwiceCountOnce applies the same records twice, as happens after a restart.
func TestRecordsThatAreReadTwiceCountOnce(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	l.event("orders", "o1", "o1", "", "", "shop.order.placed", "order/1", epoch)
	all := l.records
	apply(t, ix, l)
	if err := ix.Apply(all); err != nil {
		t.Fatal(err)
	}
	if s := ix.Stats(); s != (Stats{Events: 1, Stories: 1, Open: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	ix := openTest(t)
	if _, err := OpenIndex(ix.path, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
}

// TestADamagedFileIsPutAsideAndBuiltAgain opens files that OpenIndex cannot read or must not trust. It must set the
// file aside and begin an empty index.
func TestADamagedFileIsPutAsideAndBuiltAgain(t *testing.T) {
	fill := func(t *testing.T) string {
		ix, l := openTest(t), newTestLog()
		for i := range 2000 {
			l.event("orders", fmt.Sprint("o", i), fmt.Sprint("o", i), "", "", "shop.order.placed", fmt.Sprint("order/", i), epoch)
		}
		apply(t, ix, l)
		ix.Close()
		return ix.path
	}
	check := func(t *testing.T, path string) {
		ix, err := OpenIndex(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer ix.Close()
		if s := ix.Stats(); s != (Stats{}) {
			t.Errorf("still has %+v", s)
		}
		if _, err := os.Stat(path + ".aside"); err != nil {
			t.Error(err)
		}
	}
	for name, damage := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 100000), 0o600)) },
		"cut short":   func(t *testing.T, path string) { must(t, os.Truncate(path, 50000)) },
		"one page":    func(t *testing.T, path string) { must(t, os.Truncate(path, 4096)) },
		"other format": func(t *testing.T, path string) {
			ix, err := OpenIndex(path, nil)
			must(t, err)
			must(t, ix.write(func(tx *writeTx) { tx.put(tx.meta, keyFormat, []byte("tidings story 0")) }))
			must(t, ix.Close())
		},
		"power cut": func(t *testing.T, path string) {
			ix, err := OpenIndex(path, nil)
			must(t, err)
			must(t, ix.write(func(tx *writeTx) { tx.put(tx.meta, keyBoot, []byte("another run of the machine")) }))
			must(t, ix.db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := fill(t)
			damage(t, path)
			check(t, path)
		})
	}
}

// TestDamageThatIsFoundLaterIsHealed damages a row that OpenIndex does not read. Whatever finds the damage must return
// ErrDamaged, and the next OpenIndex must begin an empty index, even if the one before was not closed.
func TestDamageThatIsFoundLaterIsHealed(t *testing.T) {
	place := func(l *testLog) {
		for i := range storyGroup { // as many as make a row of the bucket storyevents
			l.event("orders", fmt.Sprint("o", i), "o0", "", "", "shop.order.placed", "order/1", epoch)
		}
	}
	for name, c := range map[string]struct {
		bucket []byte
		find   func(ix *Index, l *testLog) error
	}{
		"Story": {bucketEvents, func(ix *Index, _ *testLog) error {
			_, err := ix.Story("order/1", Live{})
			return err
		}},
		"Stories": {bucketStoryEvents, func(ix *Index, _ *testLog) error {
			_, err := ix.Stories("order/1", -1, Live{})
			return err
		}},
		"Find": {bucketStories, func(ix *Index, _ *testLog) error {
			_, err := ix.Find("order/1", 0)
			return err
		}},
		"an id": {bucketHashes, func(ix *Index, _ *testLog) error {
			_, err := ix.Find("o7", 0)
			return err
		}},
		"Apply": {bucketStories, func(ix *Index, l *testLog) error {
			l.event("orders", "o1b", "o0", "o0", "", "shop.order.paid", "order/1", epoch)
			return ix.Apply(l.records)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ix, l := openTest(t), newTestLog()
			place(l)
			apply(t, ix, l)
			ix.Close()
			path := ix.path
			ix, err := OpenIndex(path, slog.New(slog.DiscardHandler))
			must(t, err)
			must(t, ix.db.Update(func(tx *bolt.Tx) error {
				b := tx.Bucket(c.bucket)
				return b.ForEach(func(k, v []byte) error { return b.Put(slices.Clone(k), slices.Clone(v[:len(v)/2-1])) })
			}))
			if err := c.find(ix, l); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v", err)
			}
			must(t, ix.db.Close()) // not by Close, as if the process were killed
			for opened := range 2 {
				ix, err := OpenIndex(path, slog.New(slog.DiscardHandler))
				must(t, err)
				if s := ix.Stats(); opened == 0 && s != (Stats{}) || opened == 1 && s.Events != storyGroup {
					t.Errorf("opened %d times after the damage was found, it has %+v", opened+1, s)
				}
				if opened == 0 {
					l.records, l.ends = nil, make(map[string]int64)
					place(l)
					apply(t, ix, l)
				}
				must(t, ix.Close())
			}
			if _, err := os.Stat(path + ".aside"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAKilledProcessLosesNothing opens an index whose process was killed after a transaction. The file was not closed
// properly, but the machine did not restart, so the index is kept.
func TestAKilledProcessLosesNothing(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.event("orders", "o1", "o1", "", "", "shop.order.placed", "order/1", epoch)
	apply(t, ix, l)
	must(t, ix.db.Close()) // as the kernel does when the process is killed
	again, err := OpenIndex(ix.path, nil)
	must(t, err)
	defer again.Close()
	if s := again.Stats(); s.Events != 1 {
		t.Errorf("%+v", s)
	}
}

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkIndexing measures applying records of orders. The goal is 20,000 records a second on one core.
func BenchmarkIndexing(b *testing.B) {
	ix := openTest(b)
	reactions := []string{"payment", "inventory", "warehouse", "email", "loyalty", "analytics"}
	l := newTestLog()
	for _, r := range reactions {
		l.subscribe(r, "orders")
	}
	apply(b, ix, l)
	b.ReportAllocs()
	total := 0
	for n := 0; b.Loop(); n++ {
		// An order has eight events, each handled by six reactions. Marks come in batches of 50 events.
		b.StopTimer()
		for i := range 50 {
			root := fmt.Sprintf("%032x", n*50+i)
			for j := range 8 {
				id, cause := root, ""
				if j > 0 {
					id, cause = fmt.Sprintf("%s%d", root, j), root
				}
				l.event("orders", id, root, cause, "payment", fmt.Sprint("shop.", j), "order/"+root, epoch)
			}
		}
		end := l.ends["orders/0"]
		for _, r := range reactions {
			for lo := end - 400; lo < end; lo += 50 {
				m := &obligation.Marks{Reaction: r, Topic: "orders", Done: []offsets.Range{{Lo: lo, Hi: lo + 50}}, Position: lo + 50, Started: epoch, Finished: epoch}
				for o := lo; o < lo+50; o++ {
					m.Times = append(m.Times, obligation.Timing{Offset: o, Took: time.Millisecond, Finished: epoch})
				}
				l.fact(m)
			}
		}
		total += len(l.records)
		b.StartTimer()
		apply(b, ix, l)
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "records/s")
	info, _ := os.Stat(ix.path)
	b.ReportMetric(float64(info.Size())/float64(ix.Stats().Events), "bytes/event")
}

// TestACopyIsDoneWhenItsOriginalIs checks that the mark of a copy meets no obligation: the story is open until the
// original is handled, whichever mark is read first, and the copy has the state of the original.
func TestACopyIsDoneWhenItsOriginalIs(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("payment", "orders")
	original := l.event("orders", "o1", "o1", "", "", "shop.order.placed", "order/1", epoch)
	again := l.event("orders", "o1", "o1", "", "", "shop.order.placed", "order/1", epoch)
	l.copied("payment", again, original)
	apply(t, ix, l)
	state := func() State {
		s, err := ix.Story("o1", Live{})
		must(t, err)
		if len(s.Roots) != 1 || len(s.Roots[0].Obligations) != 1 {
			t.Fatalf("%+v", s)
		}
		return s.Roots[0].Obligations[0].State
	}
	if s := state(); s != Waiting || ix.Stats().Open != 1 {
		t.Errorf("the original is not handled, and its copy is: %v, %+v", s, ix.Stats())
	}

	// Case: the index is closed while the copy waits.
	must(t, ix.Close())
	ix, err := OpenIndex(ix.path, nil)
	must(t, err)
	defer ix.Close()
	l.handled("payment", original, epoch, 0)
	apply(t, ix, l)
	if s := state(); s != Handled {
		t.Errorf("%v", s)
	}
	c := ix.judge.listeners[obligation.SubscriptionKey("payment", "orders")][0].coverage(0)
	if !c.done.Contains(again.Offset) || len(c.copies) > 0 {
		t.Errorf("the original is done, and its copy is not: %+v", c)
	}
}
