package story

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/fields"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// TestHashesLeadToAllTheirPlaces adds entries in transactions of many sizes, some of them larger than what is merged in one
// transaction, and looks hashes up: in the transaction, later, and after the runs were loaded from the file, also while long
// runs are being merged. Half of the hashes have several places.
func TestHashesLeadToAllTheirPlaces(t *testing.T) {
	ix := openTest(t)
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	want := make(map[uint64][]where)
	var hashes []uint64
	check := func(find func(uint64) []where) {
		t.Helper()
		for range 1000 {
			h := hashes[random.IntN(len(hashes))]
			got := find(h)
			slices.Sort(got)
			slices.Sort(want[h])
			if !slices.Equal(got, want[h]) {
				t.Fatalf("%x leads to %v, want %v, with %d runs", h, got, want[h], len(ix.runs.runs))
			}
		}
		if got := find(random.Uint64()); len(got) > 0 {
			t.Fatalf("a hash that was not added leads to %v", got)
		}
	}
	entries, merging, deleting := 0, 0, 0
	for round, size := range []int{1, 1, 1, 3, 9000, 1, 2, 5000, 5000, 4, 20000, 1, 1, 150_000, 1, 3, 140_000, 1, 1, 9000, 1, 1, 1, 9000, 1, 40_000, 1} {
		must(t, ix.write(func(tx *writeTx) {
			w := tx.hashes
			for i := range size {
				h := random.Uint64()
				if i%3 == 2 {
					h = hashes[random.IntN(len(hashes))]
				}
				to := whereOf(storyNum(round*200_000+i+1), uint32(i))
				w.add(h, to)
				want[h] = append(want[h], to)
				hashes = append(hashes, h)
			}
			entries += size
			check(func(h uint64) []where { return w.find(nil, h) })
		}))
		if ix.runs.merge != nil {
			merging++
		}
		deleting += len(ix.runs.stale)
		if round%2 == 1 {
			must(t, ix.reload())
		}
		must(t, ix.db.View(func(tx *bolt.Tx) error {
			r := ix.hashReader(tx)
			check(func(h uint64) []where { return r.find(nil, h, h) })
			return r.err
		}))
		if n := ix.runs.entries(); n != entries {
			t.Errorf("%d entries, want %d", n, entries)
		}
	}
	if merging == 0 || deleting == 0 {
		t.Errorf("%d transactions have left a merge to others, and %d runs that were to be deleted", merging, deleting)
	}
	for ix.runs.merge != nil || len(ix.runs.stale) > 0 || len(ix.runs.runs) > 1 && ix.runs.runs[0].n < runRatio*ix.runs.runs[1].n {
		must(t, ix.write(func(*writeTx) {}))
	}
	rows := 0
	must(t, ix.db.View(func(tx *bolt.Tx) error {
		return eachRow(tx, bucketHashes, func(k *fields.Reader, row []byte) error {
			k.Uint64()
			p, err := parsePiece(row)
			rows += len(p.entries) / hashEntryLen
			return err
		})
	}))
	if rows != entries {
		t.Errorf("the file has %d entries, want %d", rows, entries)
	}
}

// TestARunThatLacksAPieceIsDamage checks that the loss of a row of the bucket hashes is noticed when the file is opened.
func TestARunThatLacksAPieceIsDamage(t *testing.T) {
	row := append(appendFilter(nil, make([]byte, hashEntryLen)), make([]byte, hashEntryLen)...)
	runs, err := loadHashRun(nil, 1, 0, row)
	must(t, err)
	for _, key := range [][2]uint32{{1, 2}, {2, 1}} {
		if _, err := loadHashRun(runs, key[0], key[1], row); err == nil {
			t.Errorf("run %d may begin with piece %d", key[0], key[1])
		}
	}
	if _, err := loadHashRun(nil, 1, 1, row); err == nil {
		t.Error("a run may begin with its second piece")
	}
}

// TestNamesAreReadAsTheyWereWritten writes names of each form, and names that nearly have one.
func TestNamesAreReadAsTheyWereWritten(t *testing.T) {
	const digits, uuid = "0123456789abcdef0f1e2d3c4b5a6978", "01234567-89ab-cdef-0f1e-2d3c4b5a6978"
	for name, most := range map[string]int{
		"": 1, "order/1": 9, "the same": 1, digits: 17, uuid: 17, strings.ToUpper(digits): 34, strings.ToUpper(uuid): 38, digits[1:]: 33,
		digits[1:] + "g": 34, uuid[:35] + "-": 38, strings.ReplaceAll(uuid, "-", "_"): 38, uuid[:8] + "-" + uuid[:27]: 38, "\x00": 3,
	} {
		var w rowWriter
		w.name(name, "the same")
		r := newRowReader(w.b)
		if got := r.name("the same"); got != name || r.End() != nil {
			t.Errorf("%q is read as %q: %v", name, got, r.Err())
		}
		if len(w.b) > most {
			t.Errorf("%q takes %d bytes, want %d", name, len(w.b), most)
		}
	}
}

// TestALongStoryIsFoundByEachOfItsIDs applies a story of several groups of records, an event of which comes again in each, and
// asks for it by every id, before and after the file is opened again.
func TestALongStoryIsFoundByEachOfItsIDs(t *testing.T) {
	const events = 5*storyGroup + 3
	ix, l := openTest(t), newTestLog()
	l.subscribe("books", "orders")
	l.event("parcels", "parcel", "e0", "", "", "packed", "order/1", after(ms)) // in another topic, and long ago at the end
	copies := 0
	for i := range events {
		l.event("orders", fmt.Sprint("e", i), "e0", "", "", "placed", "order/1", after(ms))
		if i%storyGroup == 5 {
			l.event("orders", "e1", "e0", "", "", "placed", "order/1", after(ms))
			copies++
		}
		if i%7 == 0 {
			apply(t, ix, l)
		}
	}
	apply(t, ix, l)
	must(t, ix.Close())
	ix, err := OpenIndex(ix.path, nil)
	must(t, err)
	defer ix.Close()
	for i := range events {
		refs, err := ix.Find(fmt.Sprint("e", i), 0)
		must(t, err)
		if len(refs) != 1 || refs[0].Events != events+1 || refs[0].Subject != "order/1" {
			t.Fatalf("e%d: %+v", i, refs)
		}
	}
	s := ask(t, ix, "e7", Live{})
	seen := 0
	for e := range s.All {
		seen++
		if want := 0; e.ID == "e1" && len(e.Copies) != copies || e.ID != "e1" && len(e.Copies) != want {
			t.Errorf("%s has %d copies", e.ID, len(e.Copies))
		}
	}
	if seen != events+1 {
		t.Errorf("%d events, want %d", seen, events+1)
	}
	must(t, ix.read(func(tx *readTx) error {
		through := tx.story(1).through
		if len(through) != 2 || through[0].offset != 1 || through[1].offset != l.ends["orders/0"] {
			t.Errorf("the events end at %v", through)
		}
		return tx.err
	}))
	// Case: the last copy is handled, and with it the event; the others are still owed.
	l.handled("books", l.event("orders", "e1", "e0", "", "", "placed", "order/1", after(ms)), after(ms), ms)
	apply(t, ix, l)
	if open := ix.stories[1].open; open != events-1 {
		t.Errorf("%d are open, want %d", open, events-1)
	}
}

// TestOneIDForAllEvents applies events of which all have one id, in one story or each in its own. They
// are one event; the hash of the id leads to few of them, or each would take longer than the one before.
func TestOneIDForAllEvents(t *testing.T) {
	for name, correlation := range map[string]func(int) string{
		"one story":          func(int) string { return "" },
		"a story for each":   func(n int) string { return fmt.Sprint("c", n) },
		"thirty-two stories": func(n int) string { return fmt.Sprint("c", n%32) },
	} {
		t.Run(name, func(t *testing.T) {
			ix := openTest(t)
			const events = 3000
			var records []*kgo.Record
			for n := range events {
				e := cloudevent.Event{ID: "1", Type: "t", Source: "s", Subject: "order/1", Time: epoch, Correlation: correlation(n)}
				r := e.Record("orders")
				r.Offset = int64(n)
				records = append(records, r)
			}
			must(t, ix.Apply(records))
			if err := ix.write(func(tx *writeTx) {
				hash := tx.ix.seed.event(tx.ix.seed.text(hashEvent, "1"), tx.nameNum("s"), tx.nameNum("t"))
				if n := len(tx.hashes.find(nil, hash)); n > maxCopies || n < 2 {
					t.Errorf("the hash of the id leads to %d places", n)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if n := ix.Stats().Events; n != 1 {
				t.Errorf("%d events", n)
			}
			checkCounts(t, ix)
		})
	}
}

// TestTimingsAreThoseOfTheirEvents has one record of marks tell the timings of the events of several blocks, in no order.
func TestTimingsAreThoseOfTheirEvents(t *testing.T) {
	const events = 3<<timesBlockBits + 7
	ix, l := openTest(t), newTestLog()
	l.subscribe("books", "orders")
	m := &obligation.Marks{Reaction: "books", Topic: "orders", Done: []offsets.Range{{Lo: 0, Hi: events}}, Position: events, Started: epoch}
	for i := range events {
		l.event("orders", fmt.Sprint("e", i), "e0", "", "", "placed", "order/1", after(ms))
		if i%5 != 3 {
			m.Times = append(m.Times, obligation.Timing{Offset: int64(i), Took: time.Duration(i) * ms, Finished: after(time.Duration(i%7) * ms)})
		}
	}
	rand.Shuffle(len(m.Times), func(i, j int) { m.Times[i], m.Times[j] = m.Times[j], m.Times[i] })
	l.fact(m)
	apply(t, ix, l)
	seen := 0
	for e := range ask(t, ix, "e0", Live{}).All {
		seen++
		took, at := time.Duration(e.Offset)*ms, after(time.Duration(e.Offset%7)*ms)
		if e.Offset%5 == 3 {
			took, at = 0, time.Time{}
		}
		if o := e.Obligations[0]; o.Took != took || !o.At.Equal(at) {
			t.Fatalf("%s: %v at %v, want %v at %v", e.ID, o.Took, o.At, took, at)
		}
	}
	if seen != events {
		t.Errorf("%d events", seen)
	}
}
