package story

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/obligation"
)

// TestCopiesCountOnceHoweverMany has many more records of one event than the index looks at, in several partitions, in each of which
// they are one event, and in as many transactions. It is owed until a listener has handled the first, and again after a seek back.
func TestCopiesCountOnceHoweverMany(t *testing.T) {
	for name, correlation := range map[string]func(int) string{
		"one story":        func(int) string { return "c" },
		"a story for each": func(n int) string { return fmt.Sprint("c", n) },
	} {
		t.Run(name, func(t *testing.T) {
			ix, l := openTest(t), newTestLog()
			const partitions, copies = 3, 5 * maxCopies
			l.subscribe("rx", "orders", "placed")
			firsts := make([]*kgo.Record, partitions)
			var last *kgo.Record
			add := func(n int, p int32) *kgo.Record {
				r := l.event("orders", "1", correlation(n), "", "", "placed", "order/7", epoch)
				l.ends["orders/0"]-- // where event has put it
				r.Partition, l.records = p, l.records[:len(l.records)-1]
				return l.append(r)
			}
			for n := range copies {
				for p := range int32(partitions) {
					r := add(n, p)
					last = r
					switch {
					case n == 0:
						firsts[p] = r
					case n%5 == 1:
						l.copied("rx", r, firsts[p])
					}
				}
				if n%7 == 0 {
					apply(t, ix, l)
				}
			}
			open := func() (n int) {
				for c := range copies {
					must(t, ix.write(func(tx *writeTx) {
						if num, ok := tx.findStory(correlation(c)); ok {
							n += tx.story(num).open
						}
					}))
					if correlation(c) == correlation(c+1) {
						break
					}
				}
				return n
			}
			want := func(when string, owed int) {
				t.Helper()
				apply(t, ix, l)
				checkCounts(t, ix)
				if n, o := ix.Stats().Events, open(); n != partitions || o != owed {
					t.Errorf("%s: %d events, %d owed, want %d and %d", when, n, o, partitions, owed)
				}
			}
			want("all are read", partitions)
			l.handled("rx", firsts[0], epoch, 0)
			l.handled("rx", firsts[1], epoch, 0)
			want("two are handled", partitions-2)
			l.handled("rx", last, epoch, 0)
			want("one that is too many is handled as if it were another event", partitions-2)
			l.subscribe("late", "orders")
			want("another is subscribed", 2*partitions-2)
			l.subscribe("late", "orders", "shipped")
			want("and not any more", partitions-2)
			l.fact(&obligation.Seek{Reaction: "rx", Topic: "orders", Partition: 0, From: copies, To: 0, Epoch: 1, At: epoch})
			want("a seek back", partitions-1)
			judged := make(map[int32]int)
			for _, e := range keptEvents(t, ix) {
				if e.copy != surplusCopy {
					judged[e.partition.partition]++
				}
			}
			for p, n := range judged {
				if n > maxCopies {
					t.Errorf("the judge looks at %d records of the event in partition %d", n, p)
				}
			}
			must(t, ix.write(func(tx *writeTx) {
				hash := tx.ix.seed.event(tx.ix.seed.text(hashEvent, "1"), tx.nameNum("shop"), tx.nameNum("placed"))
				if n := len(tx.hashes.find(nil, hash)); n > maxCopies {
					t.Errorf("the hash of the id leads to %d places", n)
				}
			}))
			if correlation(0) != correlation(1) {
				return
			}
			s, err := ix.Story("c", Live{})
			if err != nil || s.Events != partitions {
				t.Fatalf("%+v %v", s, err)
			}
			for _, e := range s.Roots {
				if len(e.Copies) != copies-1 {
					t.Errorf("%d copies, want %d", len(e.Copies), copies-1)
				}
			}
		})
	}
}

// TestACopyInAnotherStorySaysWhereItCounts has records of one event under several correlations: it counts in the story of the first, and
// the others say so. More of them than the index looks at say so, too.
func TestACopyInAnotherStorySaysWhereItCounts(t *testing.T) {
	ix, l := openTest(t), newTestLog()
	l.subscribe("rx", "orders")
	first := l.event("orders", "1", "k1", "", "", "placed", "order/7", epoch)
	l.event("orders", "1", "k2", "", "", "placed", "order/7", epoch) // until rx has passed over it, it waits
	l.handled("rx", first, epoch, 0)
	apply(t, ix, l)
	for n := range 2 * maxCopies {
		l.copied("rx", l.event("orders", "1", fmt.Sprint("again", n%maxCopies), "", "", "placed", "order/7", epoch), first)
	}
	apply(t, ix, l)
	for _, key := range []string{"k2", "again0", fmt.Sprint("again", maxCopies-1)} {
		s, err := ix.Story(key, Live{})
		if err != nil {
			t.Fatal(err)
		}
		if want := "order/7: nothing but copies of events that count in story k1."; s.Sentence != want || s.Events != 0 {
			t.Errorf("%s: %d events, %q, want %q", key, s.Events, s.Sentence, want)
		}
		if len(s.Roots) != 1 || s.Roots[0].CopyOf != "k1" {
			t.Errorf("%s: %+v", key, s.Roots)
		}
		var text strings.Builder
		if err := s.Render(&text, Format{}); err != nil || !strings.Contains(text.String(), "a copy of one in story k1") {
			t.Errorf("%s:\n%s", key, text.String())
		}
	}
	s, err := ix.Story("k1", Live{})
	if err != nil || s.Events != 1 || s.Roots[0].CopyOf != "" || !strings.Contains(s.Sentence, "1 event, 1 reaction") {
		t.Errorf("%+v %v", s, err)
	}
	s, err = ix.Story("order/7", Live{})
	if want := fmt.Sprintf("order/7: nothing is owed as far as is known; 1 of %d stories not recorded as settled; 1 event.", maxCopies+2); err != nil || s.Sentence != want {
		t.Errorf("%q %v, want %q", s.Sentence, err, want)
	}
}
