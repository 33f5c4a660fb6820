package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"tidings.dev/internal/faults"
)

// TestReadContents reads batches of every codec: with small records, with one larger than the pieces in which a block is
// read, and with field boundaries at the ends of pieces.
func TestReadContents(t *testing.T) {
	var large, many Builder
	large.Add(5, []byte("k"), make([]byte, 3*scanBytes), Header{"h", make([]byte, 2*scanBytes)})
	large.Add(-1, make([]byte, scanBytes), nil)
	large.Add(9, []byte("k"), nil)
	for i := range 5000 {
		many.Add(int64(1000+i%700), []byte("k"), make([]byte, i%37), Header{"a", nil}, Header{"b", make([]byte, i%5)})
	}
	of := []struct {
		name string
		of   View
		want Contents
	}{
		{"small records", sample(), Contents{990, 1500, true}},
		{"large records", large.Batch(), Contents{5, 9, false}},
		{"many records", many.Batch(), Contents{1000, 1699, false}},
	}
	for _, c := range codecs {
		for _, x := range of {
			v := recompress(x.of, c.codec, c.compress)
			if got, err := ReadContents(v, 1<<20); err != nil || got != x.want {
				t.Errorf("%s, %s: %+v, %v, want %+v", c.name, x.name, got, err, x.want)
			}
		}
	}

	// Case: under log append time all records have the append's time.
	v := sample()
	v.SetLogAppendTime(77)
	if got, err := ReadContents(v, 0); err != nil || got != (Contents{77, 77, true}) {
		t.Errorf("log append time: %+v, %v", got, err)
	}

	// Case: no record has a timestamp.
	var none Builder
	none.Add(-1, nil, nil)
	if got, err := ReadContents(none.Batch(), 0); err != nil || got != (Contents{math.MaxInt64, -1, true}) {
		t.Errorf("without timestamps: %+v, %v", got, err)
	}
}

// TestReadContentsThatLie reads records that a client could not decode, with every codec.
func TestReadContentsThatLie(t *testing.T) {
	var b Builder
	b.Add(0, []byte("key"), []byte("value"))
	b.Add(0, []byte("key"), []byte("value"))
	whole := b.Batch()
	body := whole[HeaderBytes:] // twice: length | attributes | deltas | 06 key | 0a value | 00
	second := len(body) / 2
	counted := func(n int32) View {
		v := View(bytes.Clone(whole))
		binary.BigEndian.PutUint32(v[countAt:], uint32(n))
		binary.BigEndian.PutUint32(v[lastOffsetDeltaAt:], uint32(n-1))
		return v
	}
	for _, x := range []struct {
		name   string
		of     View
		mangle func(records []byte) []byte
	}{
		{"record longer than the batch", whole, func(r []byte) []byte { r[0] = 0x7e; return r }},
		{"negative record length", whole, func(r []byte) []byte { r[0] = 0x01; return r }},
		{"record longer than its fields", whole, func(r []byte) []byte { r[0] += 2; return r }},
		{"key longer than the record", whole, func(r []byte) []byte { r[4] = 0x7e; return r }},
		{"more headers than bytes", whole, func(r []byte) []byte { r[len(r)-1] = 0x7e; return r }},
		{"negative header count", whole, func(r []byte) []byte { r[len(r)-1] = 0x01; return r }},
		{"first record with the offset of the second", whole, func(r []byte) []byte { r[3] = 0x02; return r }},
		{"two records of one offset", whole, func(r []byte) []byte { r[second+3] = 0x00; return r }},
		{"bytes after the last record", whole, func(r []byte) []byte { return append(r, 0) }},
		{"one record more than counted", whole, func(r []byte) []byte { return append(r, r[:second]...) }},
		{"a varint without an end", whole, func(r []byte) []byte { return bytes.Repeat([]byte{0xff}, len(r)) }},
		{"one record less than counted", whole, func(r []byte) []byte { return r[:second] }},
		{"no records", whole, func(r []byte) []byte { return nil }},
		{"cut short", whole, func(r []byte) []byte { return r[:len(r)-1] }},
		{"2^31-1 records counted", counted(math.MaxInt32), func(r []byte) []byte { return r }},
	} {
		for _, c := range codecs {
			v := withRecords(x.of, c.compress(x.mangle(bytes.Clone(body))), c.codec)
			if _, err := ReadContents(v, 1<<20); !errors.Is(err, ErrInvalidRecord) {
				t.Errorf("%s, %s: %v, want ErrInvalidRecord", c.name, x.name, err)
			}
		}
	}

	// Case: a block that its codec cannot read, or that ends early or is followed by something else.
	for _, c := range codecs[1:] {
		block := c.compress(body)
		for name, wrong := range map[string][]byte{
			"no block": nil, "not compressed": body, "cut short": block[:len(block)-2], "text": []byte("this is not compressed"),
		} {
			if _, err := ReadContents(withRecords(whole, wrong, c.codec), 1<<20); !errors.Is(err, ErrInvalidRecord) {
				t.Errorf("%s, %s: %v, want ErrInvalidRecord", c.name, name, err)
			}
		}
	}
}

// TestReadContentsOfBombs reads small blocks that decompress to much more: time and memory are bounded.
func TestReadContentsOfBombs(t *testing.T) {
	var b Builder
	b.Add(0, nil, make([]byte, 16<<20))
	bomb := b.Batch()
	for _, c := range codecs[1:] {
		v := recompress(bomb, c.codec, c.compress)
		for _, limit := range []int{0, 100, 1 << 20, 16 << 20} {
			faults.Bound(t, len(v), 64<<20, maxSnappyRatio, func() {
				if _, err := ReadContents(v, limit); !errors.Is(err, ErrBomb) {
					t.Errorf("%s, %d bytes allowed: %v, want ErrBomb", c.name, limit, err)
				}
			})
		}
		if _, err := ReadContents(v, 17<<20); err != nil {
			t.Errorf("%s within the limit: %v", c.name, err)
		}
	}

	// Case: snappy that claims 2 GiB.
	faults.Bound(t, 5, 1<<20, 0, func() {
		if _, err := ReadContents(withRecords(bomb, binary.AppendUvarint(nil, 1<<31-1), Snappy), 64<<20); err == nil {
			t.Error("snappy that claims 2 GiB was taken")
		}
	})

	// Case: the windows of zstd that the highest levels of Kafka's clients use are read, larger ones are not.
	for _, x := range []struct {
		window int
		want   error
	}{{32 << 20, nil}, {128 << 20, nil}, {256 << 20, ErrBomb}} {
		v := recompress(sample(), Zstd, func(records []byte) []byte {
			var out bytes.Buffer
			w, err := zstd.NewWriter(&out, zstd.WithWindowSize(x.window))
			if err != nil {
				t.Fatal(err)
			}
			w.Write(records[:10])
			w.Flush() // so that the frame states its window and not its size
			w.Write(records[10:])
			w.Close()
			return out.Bytes()
		})
		if _, err := ReadContents(v, 64<<20); !errors.Is(err, x.want) {
			t.Errorf("a window of %d MiB: %v, want %v", x.window>>20, err, x.want)
		}
	}
}

// TestReadContentsAgreesWithRecords flips bits in batches and compares ReadContents with Records: what the first takes,
// the second must decode to the same contents.
func TestReadContentsAgreesWithRecords(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var whole []View
	for _, c := range codecs {
		whole = append(whole, recompress(sample(), c.codec, c.compress))
	}
	for range 500 {
		v := whole[rng.IntN(len(whole))]
		block := bytes.Clone(v.Payload())
		for range rng.IntN(3) {
			block[rng.IntN(len(block))] ^= byte(1 << rng.IntN(8))
		}
		compareContents(t, withRecords(v, block, v.Codec()), 1<<20)
	}
}

// compareContents fails the test if ReadContents takes v with other contents than Records yields.
func compareContents(t *testing.T, v View, limit int) {
	t.Helper()
	got, err := ReadContents(v, limit)
	if err != nil {
		if !errors.Is(err, ErrInvalidRecord) && !errors.Is(err, ErrBomb) {
			t.Fatalf("error of another kind: %v", err)
		}
		return
	}
	want := Contents{MinTimestamp: math.MaxInt64, MaxTimestamp: -1}
	next := v.BaseOffset()
	for r, err := range Records(v, limit) {
		if errors.Is(err, ErrBomb) && v.Codec() == Zstd {
			return // Records takes smaller windows
		}
		if err != nil || r.Offset != next {
			t.Fatalf("ReadContents takes a batch in which offset %d, %v follows %d\n%x", r.Offset, err, next-1, v)
		}
		next++
		want.NullKeys = want.NullKeys || r.Key == nil
		want.MaxTimestamp = max(want.MaxTimestamp, r.Timestamp)
		if r.Timestamp != -1 {
			want.MinTimestamp = min(want.MinTimestamp, r.Timestamp)
		}
	}
	if v.LogAppendTime() {
		want.MinTimestamp, want.MaxTimestamp = v.MaxTimestamp(), v.MaxTimestamp()
	}
	if got != want || next != v.NextOffset() {
		t.Fatalf("ReadContents finds %+v up to %d, Records %+v up to %d\n%x", got, v.NextOffset(), want, next, v)
	}
}

// BenchmarkReadContents reads batches of 16 KiB with records of 100 bytes.
func BenchmarkReadContents(b *testing.B) {
	var builder Builder
	rng := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 100)
	for range 150 {
		for i := range value {
			value[i] = "abcdefgh"[rng.IntN(8)]
		}
		builder.Add(1, nil, value)
	}
	plain := builder.Batch()
	for _, c := range codecs {
		v := recompress(plain, c.codec, c.compress)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				if _, err := ReadContents(v, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("checksum", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			plain.Checksum()
		}
	})
}
