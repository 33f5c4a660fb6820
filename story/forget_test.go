package story

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// forgetBelow makes an index forget what is below the given starts, in as many transactions as it takes.
func forgetBelow(t testing.TB, ix *Index, starts logclient.Offsets) {
	t.Helper()
	pass, err := ix.beginForgetting(starts, false)
	for more := pass != nil; more && err == nil; {
		more, err = ix.forget(pass)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kept is a record of an event that an index has.
type kept struct {
	location
	eventHead
	owed int // listeners that owe it
}

// keptEvents returns all records of events in an index.
func keptEvents(t testing.TB, ix *Index) (all []kept) {
	t.Helper()
	must(t, ix.write(func(tx *writeTx) {
		for p := range ix.positions {
			tx.scan(p, 0, ix.positions[p], func(offset int64, e eventHead) bool {
				all = append(all, kept{location: location{p, offset}, eventHead: e})
				return true
			})
		}
		for i, e := range all {
			if !e.copy.counts() {
				continue
			}
			copies := []int64{e.offset}
			if e.copy == firstCopy {
				copies = tx.copies(e.location)
			}
			for _, li := range ix.judge.byTopic[e.topic] {
				if li.obliges(e.partition.partition, copies[0], e.typ) && !li.coverage(e.partition.partition).hasAny(copies) {
					all[i].owed++
				}
			}
		}
	}))
	return all
}

// checkCounts fails the test unless the counts of each story and of the whole index are those of the events that it has.
func checkCounts(t testing.TB, ix *Index) {
	t.Helper()
	events, open := make(map[storyNum]int), make(map[storyNum]int)
	total := int64(0)
	for _, e := range keptEvents(t, ix) {
		open[e.story] += e.owed
		events[e.story] += 0 // also the stories that have copies only
		if e.copy.counts() {
			events[e.story]++
			total++
		}
	}
	if ix.Stats().Events != total || ix.Stats().Stories != int64(len(events)) {
		t.Errorf("%+v, want %d events in %d stories", ix.Stats(), total, len(events))
	}
	must(t, ix.read(func(tx *readTx) error {
		return tx.bolt.Bucket(bucketStories).ForEach(func(k, _ []byte) error {
			n := storyOfKey(k)
			if s := tx.story(n); s.events != events[n] || s.open != open[n] {
				t.Errorf("story %s has %d events and owes %d, want %d and %d", s.correlation, s.events, s.open, events[n], open[n])
			}
			return tx.err
		})
	}))
}

func storyOfKey(k []byte) storyNum { n, _ := numberAt(k); return storyNum(n) }

// TestForgettingLeavesTheRestAsItIs plays a log in which events have copies and several partitions, reactions have handled some
// events, seek and come later, and stories have several subjects. Retention removes more and more. Each time, what is left
// must be all that retention has left and all that is owed, and be found as before.
func TestForgettingLeavesTheRestAsItIs(t *testing.T) {
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	for game := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(game)))
		ix := openTest(t)
		log := newTestLog()
		log.subscribe("payment", "orders")
		log.subscribe("mailer", "orders", "placed", "shipped")
		var all []*kgo.Record
		ids := make(map[string]string) // correlation by event id
		revision := int64(1)
		epochs := map[string]map[int32]int64{"payment": {}} // of the last seek, by partition
		for step := range 9 {
			for range 20 + r.IntN(120) {
				switch n := r.IntN(10); {
				case n < 6 || len(all) == 0:
					correlation := fmt.Sprint("c", r.IntN(1+len(all)/3))
					if r.IntN(4) == 0 {
						correlation = "c0" // which gets several groups of records
					}
					id, cause := fmt.Sprint("e", len(all)), ""
					if r.IntN(3) > 0 && len(all) > 0 {
						cause = fmt.Sprint("e", r.IntN(len(all)))
					}
					e := log.event("orders", id, correlation, cause, "", []string{"placed", "shipped", "noted"}[r.IntN(3)], "order/"+fmt.Sprint(r.IntN(30)), after(time.Duration(len(all))*time.Second))
					log.ends["orders/0"]--
					e.Partition = int32(r.IntN(3))
					e.Offset = log.ends[fmt.Sprint("orders/", e.Partition)]
					log.ends[fmt.Sprint("orders/", e.Partition)]++
					all, ids[id] = append(all, e), correlation
				case n < 7:
					copied := *all[r.IntN(len(all))]
					log.append(&copied)
				case n == 7 && r.IntN(8) == 0:
					e := all[r.IntN(len(all))]
					epochs["payment"][e.Partition]++
					log.fact(&obligation.Seek{Reaction: "payment", Topic: "orders", Partition: e.Partition, Epoch: epochs["payment"][e.Partition],
						From: e.Offset, To: int64(r.IntN(int(log.ends[fmt.Sprint("orders/", e.Partition)] + 1))), At: epoch})
				case n < 9:
					reaction := []string{"payment", "mailer"}[r.IntN(2)]
					e := all[r.IntN(len(all))]
					lo := max(0, e.Offset-int64(r.IntN(20)))
					log.fact(&obligation.Marks{Reaction: reaction, Topic: "orders", Partition: e.Partition, Done: []offsets.Range{{Lo: lo, Hi: e.Offset + 1}},
						Position: e.Offset + 1, Started: epoch, Finished: epoch, Epoch: epochs[reaction][e.Partition],
						Times: []obligation.Timing{{Offset: e.Offset, Took: time.Second, Finished: epoch}}, Skipped: []obligation.Skipped{{Offset: lo, Reason: "so"}}})
				default:
					revision++
					log.fact(&obligation.Subscription{Reaction: "late", Topic: "orders", Revision: revision, Retired: r.IntN(2) == 0, At: epoch,
						Start: map[int32]int64{0: int64(r.IntN(50))}})
				}
			}
			apply(t, ix, log)
			checkCounts(t, ix)
			before := keptEvents(t, ix)
			starts := logclient.Offsets{"orders": {}}
			for p := range int32(3) {
				starts["orders"][p] = int64(r.IntN(int(log.ends[fmt.Sprint("orders/", p)] + 1)))
			}
			forgetBelow(t, ix, starts)
			checkCounts(t, ix)
			left := keptEvents(t, ix)
			for _, e := range before {
				is := slices.ContainsFunc(left, func(l kept) bool { return l.location == e.location })
				stays := e.offset >= starts["orders"][e.partition.partition] || e.owed > 0
				if stays && !is {
					t.Fatalf("game %d: %v is forgotten, with %d who owe it; starts %v", game, e.location, e.owed, starts)
				}
				if is && !stays && e.copy == onlyCopy {
					t.Fatalf("game %d: %v is not forgotten; starts %v", game, e.location, starts)
				}
			}
			if step%3 == 2 {
				must(t, ix.Close())
				var err error
				ix, err = OpenIndex(ix.path, slog.New(slog.DiscardHandler))
				must(t, err)
				t.Cleanup(func() { ix.Close() })
				checkCounts(t, ix)
			}
			checkFound(t, ix, ids)
		}
	}
}

// checkFound fails the test unless each event that an index has is found by its id, with its story and subject, and no other
// is found.
func checkFound(t testing.TB, ix *Index, ids map[string]string) {
	t.Helper()
	there := make(map[string]bool)
	subjects := make(map[string]bool)
	gone := make(map[string]bool)
	must(t, ix.read(func(tx *readTx) error {
		return tx.bolt.Bucket(bucketStories).ForEach(func(k, _ []byte) error {
			s := tx.story(storyOfKey(k))
			gone[s.correlation] = s.gone > 0
			return tx.err
		})
	}))
	for _, correlation := range ids {
		s, err := ix.Stories(correlation, -1, Live{})
		if _, ok := gone[correlation]; !ok {
			if err == nil && slices.Contains(s.Correlations, correlation) {
				t.Fatalf("story %s is forgotten, and found", correlation)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", correlation, err)
		}
		if (s.GoneEvents > 0) != gone[correlation] || strings.Contains(s.Sentence, "fell to retention") != gone[correlation] {
			t.Fatalf("%s: %d are gone: %s", correlation, s.GoneEvents, s.Sentence)
		}
		for e := range s.All {
			there[e.ID], subjects[e.Subject] = true, true
		}
	}
	for id, correlation := range ids {
		refs, err := ix.Find(id, 0)
		must(t, err)
		if found := len(refs) == 1 && refs[0].Correlation == correlation; found != there[id] || len(refs) > 1 {
			t.Fatalf("%s is found: %+v; it is there: %v", id, refs, there[id])
		}
	}
	for subject := range subjects {
		if _, err := ix.Story(subject, Live{}); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
}

// TestTheIndexIsBoundedAsTheLogIs applies the log of a shop of which retention leaves the last orders, time after time: the
// file stops to grow, with all of its buckets.
func TestTheIndexIsBoundedAsTheLogIs(t *testing.T) {
	if testing.Short() {
		t.Skip("120,000 events")
	}
	ix, l := openTest(t), newShopLog()
	topics := []logclient.Topic{shopTopic(obligation.SubscriptionsTopic), shopTopic(obligation.ReactionsTopic), shopTopic(obligation.StoryTopic)}
	for _, s := range shopSteps {
		topics = append(topics, shopTopic(s.topic))
	}
	must(t, ix.setTopics(topics))
	var starts logclient.Offsets
	var inUse []map[string]int // after each period, by bucket
	const periods, ofPeriod = 10, 20_000
	for period := 1; period <= periods; period++ {
		for l.events < period*ofPeriod {
			must(t, ix.Apply(l.take(5000)))
		}
		if starts != nil {
			forgetBelow(t, ix, starts)
		}
		starts = make(logclient.Offsets)
		for p, end := range l.ends {
			if starts[p.topic] == nil {
				starts[p.topic] = make(map[int32]int64)
			}
			starts[p.topic][p.partition] = end
		}
		used := make(map[string]int)
		must(t, ix.db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
				s := b.Stats()
				used[string(name)] = s.LeafInuse + s.BranchInuse
				return nil
			})
		}))
		inUse = append(inUse, used)
	}
	if s := ix.Stats(); s.Events > 2*ofPeriod {
		t.Errorf("%+v, and retention has left events of two periods", s)
	}
	for bucket, last := range inUse[periods-1] {
		most := 2*inUse[2][bucket] + 4<<10
		if bucket == string(bucketHashes) { // those that lead nowhere are removed when they are half of them, and many
			most = 20 * 2 * minCompacted
		}
		if last > most {
			t.Errorf("bucket %s: %d bytes are in use, and %d were seven periods ago", bucket, last, inUse[2][bucket])
		}
	}
	info, err := os.Stat(ix.path)
	must(t, err)
	if info.Size() > 64<<20 {
		t.Errorf("the file has %d bytes", info.Size())
	}
}

// rowsIn returns the number of rows of a bucket.
func rowsIn(t testing.TB, ix *Index, bucket []byte) (n int) {
	t.Helper()
	must(t, ix.db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket(bucket).Stats().KeyN
		return nil
	}))
	return n
}

// TestALongStoryForgetsItsBeginning forgets the beginning of a story of a thousand events, before and after the file was opened
// again. What is left says by which event it was caused, as far as that is left, and how much is gone.
func TestALongStoryForgetsItsBeginning(t *testing.T) {
	const events = 1000
	ix, log := openTest(t), newTestLog()
	name := func(i int) string { return fmt.Sprint("e", i) }
	for i := range events {
		cause := ""
		if i > 1 {
			cause = name(i - 2)
		}
		log.event("orders", name(i), name(0), cause, "", "placed", "order/1", after(time.Duration(i)*time.Second))
	}
	apply(t, ix, log)
	for _, start := range []int{700, 950} {
		forgetBelow(t, ix, logclient.Offsets{"orders": {0: int64(start)}})
		if rows, most := rowsIn(t, ix, bucketStoryEvents), (events-start)/storyGroup+2; rows > most {
			t.Errorf("%d groups of records are left, want %d at most", rows, most)
		}
		s, err := ix.Story(name(0), Live{})
		must(t, err)
		if s.GoneEvents != start || s.Events != events-start || !strings.Contains(s.Sentence, fmt.Sprintf("%d earlier events fell to retention.", start)) {
			t.Errorf("%d events, %d are gone: %s", s.Events, s.GoneEvents, s.Sentence)
		}
		if !s.First.Equal(epoch) {
			t.Errorf("the story began at %v", s.First)
		}
		for e := range s.All {
			i := int(e.Offset)
			if gone := i-2 < start; e.CauseMissing != gone || !gone && e.Causation != name(i-2) {
				t.Errorf("%s was caused by %q, missing: %v", e.ID, e.Causation, e.CauseMissing)
			}
		}
		if refs, err := ix.Find(name(start), 0); err != nil || len(refs) != 1 {
			t.Errorf("%s: %v, %v", name(start), refs, err)
		}
		if refs, err := ix.Find(name(start-1), 0); err != nil || len(refs) != 0 {
			t.Errorf("%s is gone, and found: %v, %v", name(start-1), refs, err)
		}
		var out strings.Builder
		must(t, s.Render(&out, Format{}))
		if !strings.Contains(out.String(), "its cause fell to retention") {
			t.Error(out.String())
		}
		must(t, ix.Close())
		if ix, err = OpenIndex(ix.path, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ix.Close() })
	}
}

// TestNothingIsLeftOfWhatIsForgotten forgets stories of two subjects each: no bucket has a row of them.
func TestNothingIsLeftOfWhatIsForgotten(t *testing.T) {
	const stories = 5 * sweepAfter
	ix, log := openTest(t), newTestLog()
	log.subscribe("payment", "orders")
	for i := range stories {
		id := fmt.Sprint("c", i)
		log.event("orders", id, id, "", "", "placed", "order/"+id, epoch)
		last := log.event("orders", id+"b", id, id, "payment", "paid", "invoice/"+id, epoch)
		if i == stories-1 {
			log.fact(&obligation.Marks{Reaction: "payment", Topic: "orders", Done: []offsets.Range{{Lo: 0, Hi: last.Offset + 1}}, Position: last.Offset + 1,
				Skipped: []obligation.Skipped{{Offset: 1, Reason: "so"}}, Times: []obligation.Timing{{Offset: 0, Took: 1, Finished: epoch}}})
		}
	}
	apply(t, ix, log)
	forgetBelow(t, ix, logclient.Offsets{"orders": {0: 2 * stories}})
	for _, bucket := range [][]byte{bucketEvents, bucketStories, bucketStoryEvents, bucketSubjects, bucketNotes, bucketDue} {
		if rows := rowsIn(t, ix, bucket); rows > 0 {
			t.Errorf("bucket %s has %d rows", bucket, rows)
		}
	}
	if s := ix.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
	if rows := rowsIn(t, ix, bucketGone); rows > 1 {
		t.Errorf("%d rows have the stories that are gone", rows)
	}
	again := newTestLog()
	again.ends = log.ends
	again.event("orders", "c1", "c1", "", "", "placed", "order/c1", epoch)
	apply(t, ix, again)
	if s, err := ix.Story("order/c1", Live{}); err != nil || s.Events != 1 || s.GoneEvents != 0 {
		t.Errorf("a story that begins again after it was forgotten: %+v, %v", s, err)
	}
}
