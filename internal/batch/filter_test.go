package batch

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// keyed is a batch of ten records, k0 to k9 at offsets 500 to 509; k3 and k7 are tombstones.
func keyed(c Codec, xerial bool) View {
	var b Builder
	b.Reset(500)
	b.LeaderEpoch(3)
	b.Producer(42, 7, math.MaxInt32-4) // its sequences wrap inside
	for i := range 10 {
		value := bytes.Repeat([]byte{byte(i)}, 90)
		if i == 3 || i == 7 {
			value = nil
		}
		b.Add(int64(1_000+10*i), fmt.Append(nil, "k", i), value, Header{"n", []byte{byte(i)}})
	}
	plain := b.Batch()
	v, err := compress(bytes.Clone(plain[:HeaderBytes]), c, xerial, plain.Payload())
	if err != nil {
		panic(err)
	}
	v[attributesAt+1] |= byte(c)
	View(v).seal()
	return v
}

// What is taken out of a batch changes nothing of what is left: offsets, sequences, timestamps, headers, codec.
func TestFilter(t *testing.T) {
	for _, c := range []struct {
		codec  Codec
		xerial bool
	}{{None, false}, {Gzip, false}, {Snappy, false}, {Snappy, true}, {LZ4, false}, {Zstd, false}} {
		name := fmt.Sprint(c.codec, " xerial ", c.xerial)
		v := keyed(c.codec, c.xerial)
		before := bytes.Clone(v)
		all := transcript(t, v, 1<<20)
		for mask := range 1 << 10 {
			if c.codec == Gzip && mask%37 != 0 && mask != 1<<10-1 { // it is slow
				continue
			}
			keep := func(r Record) bool { return mask>>(r.Offset-500)&1 == 1 }
			var want []string
			largest := int64(-1)
			for i, line := range all {
				if mask>>i&1 == 1 {
					want = append(want, line)
					largest = 1_000 + 10*int64(i)
				}
			}
			out, kept, err := Filter([]byte("before"), v, 1<<20, -1, keep)
			if err != nil || kept != len(want) || string(out[:6]) != "before" {
				t.Fatalf("%s, %b: %d kept, %v", name, mask, kept, err)
			}
			w := View(out[6:])
			if kept == 0 {
				if len(w) > 0 {
					t.Fatalf("%s: %d bytes of no record", name, len(w))
				}
				continue
			}
			if err := Check(w); err != nil {
				t.Fatalf("%s, %b: %v", name, mask, err)
			}
			if got := transcript(t, w, 1<<20); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%s, %b: has\n%s\nwant\n%s", name, mask, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if w.BaseOffset() != 500 || w.LastOffset() != 509 || w.LeaderEpoch() != 3 || w.ProducerID() != 42 || w.ProducerEpoch() != 7 ||
				w.BaseSequence() != math.MaxInt32-4 || w.LastSequence() != v.LastSequence() || w.Attributes() != v.Attributes() ||
				w.FirstTimestamp() != 1_000 || w.MaxTimestamp() != largest || isXerial(w.Codec(), w.Payload()) != c.xerial {
				t.Fatalf("%s, %b: the head is %x, was %x", name, mask, w[:HeaderBytes], v[:HeaderBytes])
			}
			if kept == 10 && !bytes.Equal(w, v) {
				t.Fatalf("%s: nothing was taken out, yet it changed", name)
			}
		}
		if !bytes.Equal(v, before) {
			t.Errorf("%s: the original was written to", name)
		}
	}
}

// A tombstone that stays gets its batch a delete horizon, once; the times of the records are what they were.
func TestFilterSetsTheDeleteHorizon(t *testing.T) {
	v := keyed(Zstd, false)
	all := transcript(t, v, 1<<20)
	keep := func(r Record) bool { return r.Offset != 500 }
	out, _, err := Filter(nil, v, 1<<20, 99_000, keep)
	if err != nil {
		t.Fatal(err)
	}
	w := View(out)
	if ms, ok := w.DeleteHorizon(); !ok || ms != 99_000 || Check(w) != nil || w.MaxTimestamp() != 1_090 {
		t.Errorf("delete horizon %d %v, largest timestamp %d, %v", ms, ok, w.MaxTimestamp(), Check(w))
	}
	if got := transcript(t, w, 1<<20); strings.Join(got, "\n") != strings.Join(all[1:], "\n") {
		t.Errorf("it has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(all[1:], "\n"))
	}

	// Case: it has one already.
	again, _, err := Filter(nil, w, 1<<20, 500_000, func(Record) bool { return true })
	if err != nil || !bytes.Equal(again, w) {
		t.Errorf("the horizon moved: %v", err)
	}
	less, kept, err := Filter(nil, w, 1<<20, 500_000, func(r Record) bool { return r.Offset == 509 })
	if ms, ok := View(less).DeleteHorizon(); err != nil || kept != 1 || !ok || ms != 99_000 {
		t.Errorf("the horizon is %d %v: %v", ms, ok, err)
	}

	// Case: no tombstone, no horizon.
	none, _, err := Filter(nil, v, 1<<20, 99_000, func(r Record) bool { return r.Offset < 503 })
	if _, ok := View(none).DeleteHorizon(); ok || err != nil {
		t.Errorf("a horizon without a tombstone: %v", err)
	}
}

// Under log append time all records have the batch's one time, whatever is taken out.
func TestFilterKeepsLogAppendTime(t *testing.T) {
	v := keyed(LZ4, false)
	v.SetLogAppendTime(7_000)
	out, _, err := Filter(nil, v, 1<<20, 99_000, func(r Record) bool { return r.Offset < 505 })
	if err != nil || View(out).MaxTimestamp() != 7_000 {
		t.Fatalf("%d, %v", View(out).MaxTimestamp(), err)
	}
	for r := range Records(View(out), 1<<20) {
		if r.Timestamp != 7_000 {
			t.Errorf("offset %d has time %d", r.Offset, r.Timestamp)
		}
	}
}

// What can't be decoded is said, and nothing is made of it.
func TestFilterOfWhatDoesNotDecode(t *testing.T) {
	all := func(Record) bool { return true }
	garbled := keyed(None, false)
	garbled[HeaderBytes] = 0xff
	garbled.seal()
	for name, c := range map[string]struct {
		v     View
		limit int
		want  error
	}{
		"a record": {garbled, 1 << 20, ErrInvalidRecord},
		"a bomb":   {keyed(Zstd, false), 500, ErrBomb},
	} {
		if out, _, err := Filter([]byte("x"), c.v, c.limit, -1, all); !errors.Is(err, c.want) || string(out) != "x" {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
}

func TestEmptyBatchesAndGaps(t *testing.T) {
	v := keyed(Zstd, false)
	empty := View(AppendEmpty(nil, v))
	if err := Check(empty); err != nil || empty.Gap() || len(empty) != HeaderBytes {
		t.Errorf("an empty batch of %d bytes: %v", len(empty), err)
	}
	if empty.BaseOffset() != 500 || empty.LastOffset() != 509 || empty.ProducerID() != 42 || empty.LastSequence() != v.LastSequence() ||
		empty.Codec() != None || empty.MaxTimestamp() != -1 || empty.LeaderEpoch() != 3 {
		t.Errorf("its head is %x, was %x", []byte(empty), v[:HeaderBytes])
	}
	gap := View(AppendGap(nil, 7, 7+math.MaxInt32, 5))
	if err := Check(gap); err != nil || !gap.Gap() || gap.BaseOffset() != 7 || gap.NextOffset() != 8+math.MaxInt32 || gap.LeaderEpoch() != 5 ||
		gap.ProducerID() != NoProducer || gap.MaxTimestamp() != -1 || gap.Transactional() || gap.Control() {
		t.Errorf("gap %x: %v", []byte(gap), err)
	}
	for _, none := range []View{empty, gap} {
		for r, err := range Records(none, 1<<20) {
			t.Errorf("a record in it: %+v, %v", r, err)
		}
	}
}
