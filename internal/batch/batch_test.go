package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/faults"
)

// sample is a batch of three records: with everything, with nulls, with empty fields.
func sample() View {
	var b Builder
	b.Reset(100)
	b.LeaderEpoch(7)
	b.Producer(42, 3, math.MaxInt32-1)
	b.Add(1_000, []byte("order/1"), []byte("placed"), Header{"ce_id", []byte("x")}, Header{"null", nil})
	b.Add(990, nil, nil)
	b.Add(1_500, []byte{}, []byte{}, Header{"", []byte{}})
	return b.Batch()
}

// Somebody else's encoder, franz-go's, must make the same bytes of the same records.
func TestBuilderAgreesWithKmsg(t *testing.T) {
	record := func(timestampDelta int64, offsetDelta int32, key, value []byte, headers ...kmsg.Header) []byte {
		r := kmsg.Record{TimestampDelta64: timestampDelta, TimestampDelta: int32(timestampDelta), OffsetDelta: offsetDelta,
			Key: key, Value: value, Headers: headers}
		with := r.AppendTo(nil) // with a length of 0, one byte
		r.Length = int32(len(with) - 1)
		return r.AppendTo(nil)
	}
	records := record(0, 0, []byte("order/1"), []byte("placed"), kmsg.Header{Key: "ce_id", Value: []byte("x")}, kmsg.Header{Key: "null"})
	records = append(records, record(-10, 1, nil, nil)...)
	records = append(records, record(500, 2, []byte{}, []byte{}, kmsg.Header{Value: []byte{}})...)
	theirs := kmsg.RecordBatch{
		FirstOffset: 100, Length: int32(HeaderBytes - PrefixBytes + len(records)), PartitionLeaderEpoch: 7, Magic: 2,
		LastOffsetDelta: 2, FirstTimestamp: 1_000, MaxTimestamp: 1_500, ProducerID: 42, ProducerEpoch: 3,
		FirstSequence: math.MaxInt32 - 1, NumRecords: 3, Records: records,
	}
	want := theirs.AppendTo(nil)
	theirs.CRC = int32(crc32.Checksum(want[21:], crc32.MakeTable(crc32.Castagnoli)))
	want = theirs.AppendTo(nil)

	if got := sample(); !bytes.Equal(got, want) {
		t.Fatalf("batch\n%x\nwant\n%x", []byte(got), want)
	}
}

func TestAccessors(t *testing.T) {
	v := sample()
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"BaseOffset", v.BaseOffset(), int64(100)},
		{"LastOffset", v.LastOffset(), int64(102)},
		{"NextOffset", v.NextOffset(), int64(103)},
		{"LeaderEpoch", v.LeaderEpoch(), int32(7)},
		{"Codec", v.Codec(), None},
		{"Transactional", v.Transactional(), false},
		{"Control", v.Control(), false},
		{"LogAppendTime", v.LogAppendTime(), false},
		{"FirstTimestamp", v.FirstTimestamp(), int64(1_000)},
		{"MaxTimestamp", v.MaxTimestamp(), int64(1_500)},
		{"ProducerID", v.ProducerID(), int64(42)},
		{"ProducerEpoch", v.ProducerEpoch(), int16(3)},
		{"BaseSequence", v.BaseSequence(), int32(math.MaxInt32 - 1)},
		{"LastSequence wraps to", v.LastSequence(), int32(0)},
		{"Count", v.Count(), int32(3)},
		{"LengthField", v.LengthField(), int32(len(v) - 12)},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	var plain Builder
	plain.Add(0, nil, nil)
	if v := plain.Batch(); v.ProducerID() != NoProducer || v.LastSequence() != -1 {
		t.Errorf("a plain batch has producer %d, last sequence %d", v.ProducerID(), v.LastSequence())
	}
}

func TestRecords(t *testing.T) {
	want := []string{
		`100 1000 "order/1" "placed" ce_id="x" null=null`,
		`101 990 null null`,
		`102 1500 "" "" =""`,
	}
	for _, c := range codecs {
		t.Run(c.name, func(t *testing.T) {
			v := recompress(sample(), c.codec, c.compress)
			if err := Validate(v, 0); err != nil {
				t.Fatal(err)
			}
			if got := transcript(t, v, 1<<20); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}

	// Case: under log append time all records have the append's time.
	v := sample()
	v.SetLogAppendTime(77)
	if err := Check(v); err != nil {
		t.Fatal(err)
	}
	for r := range Records(v, 0) {
		if r.Timestamp != 77 {
			t.Errorf("offset %d has time %d under log append time", r.Offset, r.Timestamp)
		}
	}

	// Case: the iteration may stop early, also in the headers.
	for r := range Records(v, 0) {
		for range r.Headers() {
			break
		}
		break
	}
}

func TestRecordsThatLie(t *testing.T) {
	var b Builder
	b.Add(0, []byte("key"), []byte("value"))
	whole := b.Batch()
	body := whole[HeaderBytes:] // length | attributes | deltas | 06 key | 0a value | 00
	cases := []struct {
		name   string
		mangle func(records []byte) []byte
	}{
		{"record longer than the batch", func(r []byte) []byte { r[0] = 0x7e; return r }},
		{"negative record length", func(r []byte) []byte { r[0] = 0x01; return r }},
		{"key longer than the record", func(r []byte) []byte { r[4] = 0x7e; return r }},
		{"more headers than bytes", func(r []byte) []byte { r[len(r)-1] = 0x7e; return r }},
		{"negative header count", func(r []byte) []byte { r[len(r)-1] = 0x01; return r }},
		{"offset delta outside the batch", func(r []byte) []byte { r[3] = 0x02; return r }},
		{"bytes after the last record", func(r []byte) []byte { return append(r, 0) }},
		{"a varint without an end", func(r []byte) []byte { return bytes.Repeat([]byte{0xff}, len(r)) }},
		{"fewer records than counted", func(r []byte) []byte { return nil }},
	}
	for _, c := range cases {
		v := withRecords(whole, c.mangle(bytes.Clone(body)), None)
		var err error
		for _, err = range Records(v, 0) {
		}
		if !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%s: %v, want ErrInvalidRecord", c.name, err)
		}
	}
}

// A few KiB that unpack to much more are refused before they are unpacked.
func TestBombs(t *testing.T) {
	var b Builder
	b.Add(0, nil, make([]byte, 8<<20))
	bomb := b.Batch()
	for _, c := range codecs[1:] {
		v := recompress(bomb, c.codec, c.compress)
		for _, limit := range []int{0, 100, 1 << 20, 8 << 20} {
			var err error
			for _, err = range Records(v, limit) {
			}
			if !errors.Is(err, ErrBomb) {
				t.Errorf("%s, %d bytes allowed: %v, want ErrBomb", c.name, limit, err)
			}
		}
		if got := transcript(t, v, 9<<20); len(got) != 1 {
			t.Errorf("%s: %d records within the limit, want 1", c.name, len(got))
		}
	}

	// Case: a frame that only claims to be large must cost nothing either.
	claim := binary.AppendUvarint(nil, 1<<31)
	var err error
	for _, err = range Records(withRecords(bomb, claim, Snappy), 1<<20) {
	}
	if !errors.Is(err, ErrBomb) {
		t.Errorf("snappy that claims 2 GiB: %v", err)
	}

	// Case: a zstd frame that asks for a window of 60 MiB, and holds 100 bytes.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 15<<3 | 7, 100<<3&0xff | 1<<1 | 1, 100 >> 5, 0, 'x'}
	faults.Bound(t, len(window), 16<<20, 0, func() {
		for _, err = range Records(withRecords(bomb, window, Zstd), 1<<20) {
		}
		if !errors.Is(err, ErrBomb) {
			t.Errorf("a window of 60 MiB where 1 MiB is allowed: %v", err)
		}
	})
	for _, err = range Records(withRecords(bomb, window, Zstd), 64<<20) {
	}
	if !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("a window of 60 MiB where 64 MiB are allowed: %v", err) // it can be read, and is no record
	}
}

func TestSplit(t *testing.T) {
	one := sample()
	buf := append(append(append([]byte(nil), one...), one...), one...)
	n := 0
	for v, err := range Split(buf) {
		if err != nil || !bytes.Equal(v, one) || cap(v) != len(one) {
			t.Fatalf("batch %d: %v", n, err)
		}
		n++
	}
	if n != 3 {
		t.Fatalf("%d batches, want 3", n)
	}
	for v, err := range Split(nil) {
		t.Fatalf("nothing holds %v, %v", v, err)
	}

	// Case: each cut of the last batch, and each wrong length, is an error that says where.
	for cut := 2*len(one) + 1; cut < len(buf); cut++ {
		var last error
		for _, last = range Split(buf[:cut]) {
		}
		e, ok := errors.AsType[*InvalidError](last)
		if !ok || !errors.Is(last, ErrCorrupt) || e.Position < 2*len(one) {
			t.Fatalf("cut at %d: %v", cut, last)
		}
	}
	for _, length := range []int32{-1, math.MinInt32, 0, HeaderBytes - PrefixBytes - 1, math.MaxInt32} {
		v := bytes.Clone(one)
		binary.BigEndian.PutUint32(v[lengthAt:], uint32(length))
		for _, err := range Split(v) {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("length %d: %v", length, err)
			}
		}
	}
}

// Any flipped bit but those of base offset and leader epoch, which the broker rewrites, is found.
func TestCheckFindsFlippedBits(t *testing.T) {
	v := sample()
	if err := Check(v); err != nil {
		t.Fatal(err)
	}
	for i := range v {
		if i < lengthAt || i >= leaderEpochAt && i < magicAt {
			continue
		}
		for bit := range 8 {
			v[i] ^= 1 << bit
			if Check(v) == nil {
				t.Errorf("bit %d of byte %d flipped: not found", bit, i)
			}
			v[i] ^= 1 << bit
		}
	}
}

func TestPatchesKeepTheBatchWhole(t *testing.T) {
	v := sample()
	v.SetBaseOffset(1 << 40)
	v.SetLeaderEpoch(9)
	v.SetLogAppendTime(123)
	if err := Check(v); err != nil {
		t.Fatal(err)
	}
	if v.BaseOffset() != 1<<40 || v.LeaderEpoch() != 9 || !v.LogAppendTime() || v.MaxTimestamp() != 123 {
		t.Errorf("after patches: %d %d %v %d", v.BaseOffset(), v.LeaderEpoch(), v.LogAppendTime(), v.MaxTimestamp())
	}
}

func TestValidate(t *testing.T) {
	attributes := func(bits int16) func(View) {
		return func(v View) { binary.BigEndian.PutUint16(v[attributesAt:], uint16(bits)) }
	}
	put32 := func(at int, x int32) func(View) {
		return func(v View) { binary.BigEndian.PutUint32(v[at:], uint32(x)) }
	}
	cases := []struct {
		name   string
		change func(View)
		want   error
	}{
		{"as it is", func(View) {}, nil},
		{"transactional", attributes(transactionalFlag), nil},
		{"log append time", attributes(logAppendTimeFlag), nil},
		{"control", attributes(controlFlag), ErrInvalidRecord},
		{"delete horizon", attributes(deleteHorizonFlag), ErrInvalidRecord},
		{"codec 5", attributes(5), ErrUnsupportedCodec},
		{"codec 7", attributes(7), ErrUnsupportedCodec},
		{"no records", put32(countAt, 0), ErrInvalidRecord},
		{"negative count", put32(countAt, -1), ErrInvalidRecord},
		{"count and delta differ", put32(lastOffsetDeltaAt, 5), ErrInvalidRecord},
		{"negative delta", put32(lastOffsetDeltaAt, -1), ErrInvalidRecord},
		{"more records than bytes", func(v View) { put32(countAt, 1000)(v); put32(lastOffsetDeltaAt, 999)(v) }, ErrInvalidRecord},
		{"producer without sequence", put32(baseSequenceAt, -1), ErrInvalidRecord},
		{"producer without epoch", func(v View) { binary.BigEndian.PutUint16(v[producerEpochAt:], 0xffff) }, ErrInvalidRecord},
		{"producer id -2", func(v View) { binary.BigEndian.PutUint64(v[producerIDAt:], math.MaxUint64-1) }, ErrInvalidRecord},
		{"transaction without producer", func(v View) {
			attributes(transactionalFlag)(v)
			binary.BigEndian.PutUint64(v[producerIDAt:], math.MaxUint64)
		}, ErrInvalidRecord},
		{"magic 1", func(v View) { v[magicAt] = 1 }, ErrUnsupportedMagic},
	}
	for _, c := range cases {
		v := sample()
		c.change(v)
		binary.BigEndian.PutUint32(v[crcAt:], v.Checksum())
		if err := Validate(v, int64(len(v))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	v := sample()
	if err := Validate(v, int64(len(v))-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte too large: %v", err)
	}
	if err := Validate(append(v, 0), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte after the batch: %v", err)
	}
	if err := Validate(nil, 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("nothing: %v", err)
	}
}

// FuzzRecords feeds anything to everything that reads foreign bytes. Nothing may panic, and what is decoded must be
// within the limit; so must time and memory, though codecs have their own windows.
func FuzzRecords(f *testing.F) {
	for _, c := range codecs {
		f.Add([]byte(recompress(sample(), c.codec, c.compress)))
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, HeaderBytes))
	const limit = 64 << 10
	decode := func(t *testing.T, b []byte) {
		for v, err := range Split(b) {
			if err != nil {
				if _, ok := errors.AsType[*InvalidError](err); !ok {
					t.Fatalf("error of another type: %v", err)
				}
				return
			}
			binary.BigEndian.PutUint32(v[crcAt:], v.Checksum()) // so that the fuzzer gets past it
			if Validate(v, 0) != nil && Check(v) != nil {
				return
			}
			if Validate(v, 0) == nil {
				compareContents(t, v, limit)
			}
			var bytesSeen int
			for r, err := range Records(v, limit) {
				if err != nil {
					if _, ok := errors.AsType[*InvalidError](err); !ok {
						t.Fatalf("error of another type: %v", err)
					}
					break
				}
				if r.Offset < v.BaseOffset() || r.Offset > v.LastOffset() {
					t.Fatalf("offset %d in batch [%d, %d]", r.Offset, v.BaseOffset(), v.LastOffset())
				}
				bytesSeen += len(r.Key) + len(r.Value)
				n := 0
				for k, val := range r.Headers() {
					n++
					bytesSeen += len(k) + len(val)
				}
				if n != r.HeaderCount() {
					t.Fatalf("%d headers, %d counted", n, r.HeaderCount())
				}
			}
			if v.Codec() != None && bytesSeen > limit {
				t.Fatalf("%d bytes decoded past a limit of %d", bytesSeen, limit)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// A batch has at least HeaderBytes, so that is how many batches the input can have. Each is decoded here and by compareContents,
		// and by ReadContents, which takes larger windows.
		batches := uint64(len(b)/HeaderBytes + 1)
		faults.Bound(t, len(b), batches*(2*(16<<20)+2*maxRareZstdWindowBytes), 64, func() { decode(t, b) })
	})
}

func BenchmarkRecords(b *testing.B) {
	var builder Builder
	for range 100 {
		builder.Add(1, []byte("order/536365"), make([]byte, 100), Header{"ce_id", []byte("0123456789")})
	}
	v := builder.Batch()
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		for r := range Records(v, 0) {
			for range r.Headers() {
			}
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	var builder Builder
	builder.Add(1, nil, make([]byte, 64<<10))
	v := builder.Batch()
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		if err := Validate(v, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// transcript is one line per record.
func transcript(t *testing.T, v View, limit int) []string {
	t.Helper()
	text := func(b []byte) string {
		switch {
		case b == nil:
			return "null"
		case len(b) > 100:
			return fmt.Sprintf("%d bytes", len(b))
		}
		return fmt.Sprintf("%q", b)
	}
	var lines []string
	for r, err := range Records(v, limit) {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d %d %s %s", r.Offset, r.Timestamp, text(r.Key), text(r.Value))
		for k, val := range r.Headers() {
			line += fmt.Sprintf(" %s=%s", k, text(val))
		}
		lines = append(lines, line)
	}
	return lines
}

// codecs are the compressions that clients use, by other people's encoders; the first is none.
var codecs = []struct {
	name     string
	codec    Codec
	compress func([]byte) []byte
}{
	{"none", None, bytes.Clone},
	{"gzip", Gzip, func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	}},
	{"snappy", Snappy, func(b []byte) []byte { return snappy.Encode(nil, b) }},
	{"snappy in xerial frames", Snappy, func(b []byte) []byte {
		out := append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
		for len(b) > 0 {
			n := min(len(b), 32<<10)
			block := snappy.Encode(nil, b[:n])
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
			b = b[n:]
		}
		return out
	}},
	{"lz4", LZ4, func(b []byte) []byte {
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	}},
	{"zstd", Zstd, func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(b, nil)
	}},
	{"zstd as a stream", Zstd, func(b []byte) []byte {
		var out bytes.Buffer
		w, _ := zstd.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	}},
}

func recompress(v View, c Codec, compress func([]byte) []byte) View {
	return withRecords(v, compress(v.Payload()), c)
}

// withRecords is the batch with another record block.
func withRecords(v View, records []byte, c Codec) View {
	out := View(append(bytes.Clone(v[:HeaderBytes]), records...))
	binary.BigEndian.PutUint32(out[lengthAt:], uint32(len(out)-PrefixBytes))
	binary.BigEndian.PutUint16(out[attributesAt:], uint16(v.Attributes()&^codecMask)|uint16(c))
	binary.BigEndian.PutUint32(out[crcAt:], out.Checksum())
	return out
}
