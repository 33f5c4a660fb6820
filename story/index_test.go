package story

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/obligation"
)

// epoch is when everything begins in these tests.
var epoch = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// log writes records as an application would, for an index to read.
type testLog struct {
	ends    map[string]int64
	records []*kgo.Record
}

func newTestLog() *testLog { return &testLog{ends: make(map[string]int64)} }

func (l *testLog) append(r *kgo.Record) *kgo.Record {
	key := r.Topic + "/" + strconv.Itoa(int(r.Partition))
	r.Offset = l.ends[key]
	l.ends[key]++
	l.records = append(l.records, r)
	return r
}

// event appends a CloudEvent. cause may be empty: then it is a root, and its own correlation.
func (l *testLog) event(topic, id, correlation, cause, reaction, typ, subject string, at time.Time) *kgo.Record {
	h := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	r := &kgo.Record{Topic: topic, Key: []byte(subject), Value: []byte(`{}`), Timestamp: at, Headers: []kgo.RecordHeader{
		h(obligation.HeaderSpecVersion, "1.0"), h(obligation.HeaderID, id), h(obligation.HeaderType, typ), h(obligation.HeaderSource, "shop"),
		h(obligation.HeaderSubject, subject), h(obligation.HeaderTime, at.Format(time.RFC3339Nano)), h(obligation.HeaderCorrelation, correlation),
	}}
	if cause != "" {
		r.Headers = append(r.Headers, h(obligation.HeaderCausation, cause), h(obligation.HeaderReaction, reaction))
	}
	return l.append(r)
}

func (l *testLog) fact(f obligation.Fact) {
	l.append(&kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f), Timestamp: epoch})
}

// handled marks one event as handled.
func (l *testLog) handled(reaction string, r *kgo.Record, finished time.Time, took time.Duration) {
	l.fact(&obligation.Marks{Reaction: reaction, Topic: r.Topic, Partition: r.Partition, Done: []obligation.Range{{Lo: r.Offset, Hi: r.Offset + 1}},
		Position: r.Offset + 1, Started: finished.Add(-took), Finished: finished, Times: []obligation.Timing{{Offset: r.Offset, Took: took, Finished: finished}}})
}

func (l *testLog) subscribe(reaction, topic string, types ...string) {
	l.fact(&obligation.Subscription{Reaction: reaction, Topic: topic, Types: types, At: epoch})
}

func openTest(t testing.TB) *Index {
	t.Helper()
	ix, err := OpenIndex(filepath.Join(t.TempDir(), "story.index"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

func apply(t testing.TB, ix *Index, l *testLog) {
	t.Helper()
	if err := ix.Apply(l.records); err != nil {
		t.Fatal(err)
	}
	l.records = nil
}

// The file and the memory of the model must agree on every story, whatever the order in which partitions are read,
// the size of transactions, and how often the file is closed and opened.
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
		path := ix.path
		for left := true; left; {
			var batch []*kgo.Record
			left = false
			for _, p := range w.parts() {
				for range choose(20, "records") {
					if x.read[p] < int64(len(w.logs[p])) {
						batch = append(batch, w.record(place{p, x.read[p]}))
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
			if err := ix.view(func(v *view) error { got = v.story(refs[0].num); return v.err }); err != nil {
				t.Fatal(err)
			}
			if got.open != m.open || got.events != m.events || int(got.rows) != m.records {
				t.Fatalf("seed %d, game %d: %s: file has %+v, memory %+v", seed, game, m.correlation, got.standing, m.standing)
			}
			events += int64(m.events)
			// What a story shows to be open is what it counts.
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

// record makes the record of an entry of the model.
func (w *world) record(at place) *kgo.Record {
	e := w.logs[at.partition][at.offset]
	r := &kgo.Record{Topic: fmt.Sprint(at.topic), Partition: at.partition.partition, Offset: at.offset, Timestamp: epoch}
	if e.fact == nil {
		h := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
		r.Headers = []kgo.RecordHeader{h(obligation.HeaderID, e.id), h(obligation.HeaderType, fmt.Sprint(e.typ)), h(obligation.HeaderCorrelation, e.correlation)}
		return r
	}
	r.Topic = e.fact.RecordTopic()
	if sub, ok := e.fact.(*obligation.Subscription); ok {
		typed := *sub
		for _, a := range w.reactions {
			if a.name == sub.Reaction {
				for _, typ := range a.types {
					typed.Types = append(typed.Types, fmt.Sprint(typ))
				}
			}
		}
		r.Value = obligation.Encode(&typed)
	} else {
		r.Value = obligation.Encode(e.fact)
	}
	return r
}

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
			must(t, ix.update(func(p *pass) { p.put(p.meta, keyFormat, []byte("tidings story 0")) }))
			must(t, ix.Close())
		},
		"power cut": func(t *testing.T, path string) {
			ix, err := OpenIndex(path, nil)
			must(t, err)
			must(t, ix.update(func(p *pass) { p.put(p.meta, keyBoot, []byte("another run of the machine")) }))
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

// A process that is killed leaves its last transaction behind: the file was not closed, but the machine went on.
func TestAKilledProcessLosesNothing(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.event("orders", "o1", "o1", "", "", "shop.order.placed", "order/1", epoch)
	apply(t, ix, l)
	must(t, ix.db.Close()) // what the kernel does
	again, err := OpenIndex(ix.path, nil)
	must(t, err)
	defer again.Close()
	if s := again.Stats(); s.Events != 1 {
		t.Errorf("%+v", s)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The index must keep up with 20,000 records a second on one core.
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
		// One order: eight events, each handled by six reactions; marks come in batches of 50 events.
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
				m := &obligation.Marks{Reaction: r, Topic: "orders", Done: []obligation.Range{{Lo: lo, Hi: lo + 50}}, Position: lo + 50, Started: epoch, Finished: epoch}
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
