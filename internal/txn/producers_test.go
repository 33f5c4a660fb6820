package txn

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// start is the time at which all batches of these tests are recorded.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// log appends the batches of one partition one after another, as the engine does.
type log struct {
	Producers
	end int64
}

// append checks b, and records it unless it is refused or a duplicate.
func (l *log) append(b Batch) (CheckResult, error) {
	v, err := l.Check(b)
	if err == nil && !v.Duplicate {
		l.Record(b, l.end, -1, start)
		l.end += int64(b.Count)
	}
	return v, err
}

// must appends b and fails the test if it is refused.
func (l *log) must(t *testing.T, b Batch) CheckResult {
	t.Helper()
	v, err := l.append(b)
	if err != nil {
		t.Fatalf("%+v: %v", b, err)
	}
	return v
}

// refuses appends b and fails the test unless it is refused with want and nothing changes.
func (l *log) refuses(t *testing.T, b Batch, want error) {
	t.Helper()
	end := l.end
	v, err := l.append(b)
	var at *SequenceError
	if !errors.Is(err, want) || !errors.As(err, &at) || at.Batch != b || v != (CheckResult{}) || l.end != end {
		t.Fatalf("%+v: %+v, %v; want %v", b, v, err, want)
	}
}

func TestSequences(t *testing.T) {
	var l log
	// Case: not idempotent: anything goes, nothing is kept.
	l.must(t, Batch{-1, -1, -1, 10})
	l.must(t, Batch{-1, -1, -1, 10})
	if l.Len() != 0 {
		t.Fatal("a producer without an id is remembered")
	}
	// Case: an unknown producer begins anywhere (trap 4), then sequences follow.
	l.must(t, Batch{7, 0, 100, 5})
	l.must(t, Batch{7, 0, 105, 1})
	l.refuses(t, Batch{7, 0, 107, 1}, ErrOutOfOrderSequence)
	// Case: it looks like a retry and is none: other length.
	l.refuses(t, Batch{7, 0, 105, 2}, ErrOutOfOrderSequence)
	// Case: a new epoch begins at 0, and fences the old one.
	l.refuses(t, Batch{7, 1, 106, 1}, ErrOutOfOrderSequence)
	l.must(t, Batch{7, 1, 0, 3})
	l.refuses(t, Batch{7, 0, 106, 1}, ErrInvalidProducerEpoch)
	l.refuses(t, Batch{7, 0, 105, 1}, ErrInvalidProducerEpoch)
	l.must(t, Batch{7, 1, 3, 3})
	// Case: another producer has nothing to do with it.
	l.must(t, Batch{8, 0, 0, 1})
	// Case: malformed.
	for _, b := range []Batch{{7, -1, 6, 1}, {7, 1, -1, 1}, {7, 1, 6, 0}} {
		l.refuses(t, b, ErrInvalidSequence)
	}
}

func TestDuplicates(t *testing.T) {
	var l log
	for i := range int32(6) {
		l.must(t, Batch{7, 0, i * 10, 10})
	}
	// Case: each of the last five is answered with its own offsets (trap 3).
	for i := int32(1); i < 6; i++ {
		want := CheckResult{Duplicate: true, BaseOffset: int64(i) * 10, LastOffset: int64(i)*10 + 9, AppendTimeMS: -1}
		if v := l.must(t, Batch{7, 0, i * 10, 10}); v != want {
			t.Fatalf("batch %d: %+v, want %+v", i, v, want)
		}
	}
	// Case: the sixth is too old to know.
	l.refuses(t, Batch{7, 0, 0, 10}, ErrOutOfOrderSequence)
	// Case: LogAppendTime is part of the answer.
	l.Record(Batch{9, 0, 0, 1}, 60, 1234, start)
	if v := l.must(t, Batch{9, 0, 0, 1}); v.AppendTimeMS != 1234 {
		t.Fatalf("append time %d", v.AppendTimeMS)
	}
}

func TestSequencesWrap(t *testing.T) {
	var l log
	// Case: a batch over the edge, MaxInt32-1, MaxInt32, 0, 1, and the one after it.
	over := Batch{7, 0, math.MaxInt32 - 1, 4}
	if over.LastSequence() != 1 {
		t.Fatalf("last sequence %d", over.LastSequence())
	}
	l.must(t, over)
	l.must(t, Batch{7, 0, 2, 1})
	if !l.must(t, over).Duplicate {
		t.Fatal("the retry is no duplicate")
	}
	// Case: a batch that ends at the edge.
	l.must(t, Batch{8, 0, math.MaxInt32, 1})
	l.refuses(t, Batch{8, 0, 1, 1}, ErrOutOfOrderSequence)
	l.must(t, Batch{8, 0, 0, 1})
}

func TestExpiry(t *testing.T) {
	var p Producers
	p.Record(Batch{1, 0, 0, 1}, 0, -1, start)
	p.Record(Batch{2, 0, 0, 1}, 1, -1, start)
	p.Record(Batch{2, 0, 1, 1}, 2, -1, start.Add(time.Hour))
	if n := p.Expire(start.Add(time.Minute)); n != 1 || p.Len() != 1 {
		t.Fatalf("%d expired, %d left", n, p.Len())
	}
	// Case: one that was forgotten goes on where it was.
	if _, err := p.Check(Batch{1, 0, 1, 1}); err != nil {
		t.Fatal(err)
	}
}

// TestIdempotenceModel checks invariant I4 over random retries, reorderings, epochs and restarts: each batch is in the
// log at most once and in order, and a retry is answered with the batch's own offset.
func TestIdempotenceModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l log
		type sent struct {
			Batch
			at int64
		}
		var (
			epoch int16
			next  = rapid.SampledFrom([]int32{0, math.MaxInt32 - 20}).Draw(t, "first")
			all   []sent // accepted in this epoch, oldest first
		)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"send", "send", "retry", "gap", "epoch", "restart"}).Draw(t, "step") {
			case "send":
				b := Batch{7, epoch, next, int32(rapid.IntRange(1, 9).Draw(t, "count"))}
				at := l.end
				if v, err := l.append(b); err != nil || v.Duplicate {
					t.Fatalf("next batch %+v: %+v, %v", b, v, err)
				}
				all = append(all, sent{b, at})
				next = int32((int64(b.LastSequence()) + 1) & math.MaxInt32)
			case "retry":
				if len(all) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				v, err := l.append(all[i].Batch)
				switch old := i < len(all)-recentBatches; {
				case old && !errors.Is(err, ErrOutOfOrderSequence):
					t.Fatalf("retry past the window: %+v, %v", v, err)
				case !old && (err != nil || !v.Duplicate || v.BaseOffset != all[i].at || v.LastOffset != all[i].at+int64(all[i].Count)-1):
					t.Fatalf("retry of %+v: %+v, %v", all[i], v, err)
				}
			case "gap":
				if len(all) == 0 {
					continue
				}
				b := Batch{7, epoch, int32((int64(next) + 1) & math.MaxInt32), 1}
				if v, err := l.append(b); !errors.Is(err, ErrOutOfOrderSequence) {
					t.Fatalf("gap: %+v, %v", v, err)
				}
			case "epoch":
				epoch, next, all = epoch+1, 0, nil
			case "restart":
				var p Producers
				if err := p.Decode(l.Encode()); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(p.Encode(), l.Encode()) {
					t.Fatal("a snapshot read back differs")
				}
				l.Producers = p
			}
		}
	})
}

func TestCorruptSnapshots(t *testing.T) {
	var p Producers
	for i := range int32(7) {
		p.Record(Batch{int64(i % 2), 0, i, 1}, int64(i), -1, start)
	}
	whole := p.Encode()
	for i := range whole {
		var q Producers
		q.Record(Batch{42, 0, 0, 1}, 0, -1, start)
		if err := q.Decode(whole[:i]); !errors.Is(err, ErrCorruptRecord) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		if q.Len() != 1 {
			t.Fatal("a failed Decode changed the state")
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0xff
		q.Decode(flipped) // any answer but a panic
	}
	if err := new(Producers).Decode(append(whole, 0)); !errors.Is(err, ErrCorruptRecord) {
		t.Fatal(err)
	}
}

func BenchmarkCheckRecord(b *testing.B) {
	var p Producers
	seq := int32(0)
	b.ReportAllocs()
	for i := range b.N {
		x := Batch{7, 0, seq, 100}
		if _, err := p.Check(x); err != nil {
			b.Fatal(err)
		}
		p.Record(x, int64(i)*100, -1, start)
		seq = addSequence(seq, 100)
	}
}
