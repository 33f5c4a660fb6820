package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Contents is what ReadContents finds in the records of a batch.
type Contents struct {
	// MinTimestamp is the least timestamp of all records that have one, or math.MaxInt64 if none has.
	MinTimestamp int64
	// MaxTimestamp is the largest timestamp of all records, or -1 if none has one.
	MaxTimestamp int64
	// NullKeys reports whether a record has no key.
	NullKeys bool
}

// ReadContents reads all records of v, which must have passed Validate, and checks that every client can decode them:
// the block decompresses to at most maxDecompressedBytes bytes and holds as many records as the header states and
// nothing else, and the offset of each record follows that of the one before. Otherwise it returns an *InvalidError,
// which matches ErrInvalidRecord or ErrBomb.
//
// The records are decompressed once, piece by piece. Beside the decoder's own memory (for zstd up to 128 MiB, then only
// one batch at a time; for snappy in a single block up to 22 times the size of the batch) this takes no more than
// scanBytes.
func ReadContents(v View, maxDecompressedBytes int) (Contents, error) {
	if v.Codec() == None {
		s := scanner{buf: v.Payload()}
		return s.contents(v)
	}
	if v.Codec() == Zstd {
		return readZstd(v, maxDecompressedBytes)
	}
	r, release, err := openBlock(v.Codec(), v.Payload())
	if err != nil {
		return Contents{}, blockError(v, err)
	}
	defer release()
	return scan(v, r, maxDecompressedBytes)
}

// blockError returns the *InvalidError for an error of decompressing the records of v.
func blockError(v View, err error) error {
	if errors.Is(err, ErrBomb) {
		return invalid(ErrBomb, HeaderBytes, "%d bytes of %v hold too much", len(v)-HeaderBytes, v.Codec())
	}
	return invalid(ErrInvalidRecord, HeaderBytes, "%v: %v", v.Codec(), err)
}

// scanBytes is the size of the pieces in which a decompressed block is read.
const scanBytes = 32 << 10

var scanBuffers = sync.Pool{New: func() any { return new([scanBytes]byte) }}

// scan does the work of ReadContents for the block that r decompresses.
func scan(v View, r io.Reader, maxBytes int) (Contents, error) {
	buf := scanBuffers.Get().(*[scanBytes]byte)
	defer scanBuffers.Put(buf)
	s := scanner{buf: buf[:0], source: r, left: int64(max(maxBytes, 0))}
	got, err := s.contents(v)
	if s.err != nil && s.err != io.EOF {
		return Contents{}, blockError(v, s.err)
	}
	return got, err
}

// scanner reads the fields of records one after another, from a buffer or from a source that refills the buffer. The
// first field that is not there sets failed, and all later reads return zero values.
type scanner struct {
	buf    []byte
	at     int       // buf[:at] is read
	base   int64     // position of buf[0] in the block
	source io.Reader // nil if buf is the whole block
	left   int64     // bytes that may still come from source
	err    error     // why source gives no more: io.EOF at its end
	failed bool
}

// contents reads the records of v.
func (s *scanner) contents(v View) (Contents, error) {
	c := Contents{MinTimestamp: math.MaxInt64, MaxTimestamp: -1}
	first, count := v.FirstTimestamp(), v.Count()
	for i := range count {
		timestampDelta, nullKey, ok := s.shortRecord(i)
		if !ok {
			timestampDelta, nullKey, ok = s.record(i)
		}
		if !ok {
			return Contents{}, invalid(ErrInvalidRecord, int(s.base)+s.at, "record %d of %d does not decode", i, count)
		}
		c.NullKeys = c.NullKeys || nullKey
		timestamp := first + timestampDelta
		c.MaxTimestamp = max(c.MaxTimestamp, timestamp)
		if timestamp < c.MinTimestamp && timestamp != -1 {
			c.MinTimestamp = timestamp
		}
	}
	if s.more(1); s.at < len(s.buf) {
		return Contents{}, invalid(ErrInvalidRecord, int(s.base)+s.at, "more than the %d records of the header", count)
	}
	if v.LogAppendTime() {
		c.MinTimestamp, c.MaxTimestamp = v.MaxTimestamp(), v.MaxTimestamp()
	}
	return c, nil
}

// maxFieldBytes is the most bytes that the fields before a record's key take: length, attributes, two deltas, and the
// length of the key.
const maxFieldBytes = 5 + 1 + 10 + 5 + 5

// shortRecord does what record does for a record as most are: wholly in the buffer and not at its end, with lengths
// and deltas of at most two bytes, and one byte for each name of a header. If it returns false, it has read nothing, and record must be called. It
// reads its varints in place, since it runs for each record that is produced and calls would double its time.
func (s *scanner) shortRecord(i int32) (timestampDelta int64, nullKey, ok bool) {
	b := s.buf[s.at:]
	if len(b) < maxFieldBytes {
		return 0, false, false
	}
	p := 1
	length := uint32(b[0])
	if length >= 0x80 {
		length, p = length&0x7f|uint32(b[1])<<7, 2
	}
	end := p + int(length>>1)
	if length >= 1<<14 || length&1 != 0 || end > len(b)-2 {
		return 0, false, false
	}
	p++ // attributes, of which no bit has a meaning
	delta := uint32(b[p])
	if p++; delta >= 0x80 {
		delta = delta&0x7f | uint32(b[p])<<7
		p++
	}
	offset := uint32(b[p])
	if p++; offset >= 0x80 {
		offset = offset&0x7f | uint32(b[p])<<7
		p++
	}
	key := uint32(b[p])
	if p++; key >= 0x80 {
		key = key&0x7f | uint32(b[p])<<7
		p++
	}
	if delta|offset|key >= 1<<14 || offset != uint32(i)<<1 {
		return 0, false, false
	}
	nullKey = key == 1 // the zigzag form of -1
	if key&1 == 0 {
		p += int(key >> 1)
	} else if !nullKey {
		return 0, false, false
	}
	if p >= end {
		return 0, false, false
	}
	value := uint32(b[p])
	if p++; value >= 0x80 {
		value = value&0x7f | uint32(b[p])<<7
		p++
	}
	if value&1 == 0 {
		p += int(value >> 1)
	}
	if value >= 1<<14 || value&1 != 0 && value != 1 || p >= end {
		return 0, false, false
	}
	headers := b[p]
	if p++; headers >= 0x80 || headers&1 != 0 {
		return 0, false, false
	}
	for range headers >> 1 {
		if p >= end || b[p]&0x81 != 0 { // 0x81: a second byte, or a negative length
			return 0, false, false
		}
		if p += 1 + int(b[p]>>1); p >= end {
			return 0, false, false
		}
		value := uint32(b[p])
		if p++; value >= 0x80 {
			value = value&0x7f | uint32(b[p])<<7
			p++
		}
		if value >= 1<<14 || value&1 != 0 {
			return 0, false, false
		}
		p += int(value >> 1)
	}
	if p != end {
		return 0, false, false
	}
	s.at += end
	return int64(delta>>1) ^ -int64(delta&1), nullKey, true
}

// record reads the record number i of a batch. It returns false if the record is invalid or has another offset.
func (s *scanner) record(i int32) (timestampDelta int64, nullKey, ok bool) {
	s.more(maxFieldBytes)
	length := s.varint()
	start := s.base + int64(s.at)
	if s.at++; s.at > len(s.buf) { // attributes, of which no bit has a meaning
		return 0, false, false
	}
	timestampDelta = s.varlong()
	offsetDelta := s.varint()
	key := s.varint()
	if key > 0 {
		s.skip(key)
	}
	s.more(5 + 5)
	if value := s.varint(); value > 0 {
		s.skip(value)
		s.more(5)
	}
	headers := s.varint()
	for n := headers; n > 0 && !s.failed; n-- {
		s.more(5)
		name := s.varint()
		if name < 0 {
			return 0, false, false
		}
		s.skip(name)
		s.more(5)
		if value := s.varint(); value > 0 {
			s.skip(value)
		}
	}
	ok = !s.failed && offsetDelta == i && headers >= 0 && s.base+int64(s.at) == start+int64(length)
	return timestampDelta, key < 0, ok
}

// varint reads a varint of at most 5 bytes.
func (s *scanner) varint() int32 {
	if s.at < len(s.buf) && s.buf[s.at] < 0x80 {
		b := s.buf[s.at]
		s.at++
		return int32(b>>1) ^ -int32(b&1)
	}
	return s.longVarint()
}

// longVarint is varint for two and more bytes.
func (s *scanner) longVarint() int32 {
	x, n := binary.Uvarint(s.buf[s.at:min(s.at+5, len(s.buf))])
	if n <= 0 || x > math.MaxUint32 {
		s.failed = true
		return 0
	}
	s.at += n
	return int32(uint32(x)>>1) ^ -int32(x&1)
}

// varlong reads a varint of at most 10 bytes.
func (s *scanner) varlong() int64 {
	x, n := binary.Varint(s.buf[s.at:])
	if n <= 0 {
		s.failed = true
		return 0
	}
	s.at += n
	return x
}

// skip moves n bytes on, which must not be negative.
func (s *scanner) skip(n int32) {
	if s.failed {
		return
	}
	for int(n) > len(s.buf)-s.at {
		n -= int32(len(s.buf) - s.at)
		s.at = len(s.buf)
		if s.more(1); s.at == len(s.buf) {
			s.failed = true
			return
		}
	}
	s.at += int(n)
}

// more refills the buffer from the source if fewer than n bytes of it are left, which must be less than its capacity.
// Afterwards there are n bytes, or all that the source still has.
func (s *scanner) more(n int) {
	if len(s.buf)-s.at < n && s.source != nil && s.err == nil {
		s.refill(n)
	}
}

// refill does the work of more.
func (s *scanner) refill(n int) {
	rest := copy(s.buf[:cap(s.buf)], s.buf[s.at:])
	s.base, s.at, s.buf = s.base+int64(s.at), 0, s.buf[:rest]
	for idle := 0; len(s.buf) < n && s.err == nil; idle++ {
		var got int
		got, s.err = s.source.Read(s.buf[len(s.buf):cap(s.buf)])
		if got > 0 {
			idle = 0
		}
		s.buf, s.left = s.buf[:len(s.buf)+got], s.left-int64(got)
		switch {
		case s.left < 0:
			s.err = ErrBomb
		case idle > 100 && s.err == nil:
			s.err = io.ErrNoProgress
		}
	}
}

// Readers of compressed blocks, which are expensive to create.
var (
	gzipReaders sync.Pool
	lz4Readers  = sync.Pool{New: func() any { return lz4.NewReader(nil) }}
)

// openBlock returns a reader of the records in a block, compressed by gzip, snappy or lz4. release must be called after
// the last read.
func openBlock(c Codec, in []byte) (_ io.Reader, release func(), _ error) {
	switch c {
	case Gzip:
		r, ok := gzipReaders.Get().(*gzip.Reader)
		if !ok {
			r = new(gzip.Reader)
		}
		if err := r.Reset(bytes.NewReader(in)); err != nil {
			return nil, nil, err
		}
		return r, func() { gzipReaders.Put(r) }, nil
	case Snappy:
		r, err := openSnappy(in)
		return r, func() {}, err
	case LZ4:
		r := lz4Readers.Get().(*lz4.Reader)
		r.Reset(bytes.NewReader(in))
		return r, func() {
			r.Reset(nil)
			lz4Readers.Put(r)
		}, nil
	}
	return nil, nil, errors.New("unknown codec")
}

// snappyReader reads the blocks of snappy data in the xerial format, or the only one of a raw block.
type snappyReader struct {
	block []byte // decompressed and not read yet
	in    []byte // blocks with their lengths
}

// maxSnappyRatio is how many bytes one byte of a snappy block can stand for: a copy of 64 bytes takes 3.
const maxSnappyRatio = 22

// openSnappy returns a reader of snappy data.
func openSnappy(in []byte) (io.Reader, error) {
	if bytes.HasPrefix(in, xerialMagic) {
		if len(in) < xerialHeaderBytes {
			return nil, snappy.ErrCorrupt
		}
		return &snappyReader{in: in[xerialHeaderBytes:]}, nil
	}
	block, err := unsnappyBlock(nil, in, maxSnappyRatio*len(in))
	if err != nil {
		return nil, snappy.ErrCorrupt
	}
	return bytes.NewReader(block), nil
}

// Read implements io.Reader.
func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.block) == 0 {
		if len(r.in) == 0 {
			return 0, io.EOF
		}
		if len(r.in) < 4 {
			return 0, snappy.ErrCorrupt
		}
		n := binary.BigEndian.Uint32(r.in)
		if uint64(n) > uint64(len(r.in)-4) {
			return 0, snappy.ErrCorrupt
		}
		block, err := unsnappyBlock(nil, r.in[4:4+n], maxSnappyRatio*int(n))
		if err != nil {
			return 0, snappy.ErrCorrupt
		}
		r.block, r.in = block, r.in[4+n:]
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	return n, nil
}

// Zstd frames with a window of up to 8 MiB, which every decoder should support (RFC 8878), are read by pooled decoders.
// Those with a larger one, up to the 128 MiB of Kafka's highest levels, are read one at a time, so that clients cannot
// make the broker keep many such windows.
const maxRareZstdWindowBytes = 128 << 20

var (
	smallZstdDecoders = sync.Pool{New: func() any { return newZstdDecoder(minZstdWindowBytes) }}
	rareZstd          sync.Mutex // held while a frame with a large window is read
)

// newZstdDecoder returns a decoder of frames with a window of at most windowBytes. It has no goroutines.
func newZstdDecoder(windowBytes uint64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowBytes))
	if err != nil {
		panic("batch: zstd options: " + err.Error()) // the options are constants, so that this cannot happen
	}
	return d
}

// readZstd does the work of ReadContents for zstd.
func readZstd(v View, maxBytes int) (Contents, error) {
	d := smallZstdDecoders.Get().(*zstd.Decoder)
	got, large, err := scanZstd(d, v, maxBytes)
	smallZstdDecoders.Put(d)
	if !large {
		return got, err
	}
	rareZstd.Lock()
	defer rareZstd.Unlock()
	d = newZstdDecoder(maxRareZstdWindowBytes)
	defer d.Close()
	got, large, err = scanZstd(d, v, maxBytes)
	if large {
		return Contents{}, blockError(v, ErrBomb)
	}
	return got, err
}

// scanZstd reads the contents of v with d. large reports whether the window of a frame is larger than d allows; then
// there is neither a result nor an error.
func scanZstd(d *zstd.Decoder, v View, maxBytes int) (_ Contents, large bool, _ error) {
	source := windowReader{d: d}
	// A decoder in the pool must not keep the batch alive. Reset cannot fail with a nil reader.
	defer func() { _ = d.Reset(nil) }()
	err := d.Reset(bytes.NewReader(v.Payload()))
	if err == nil {
		var got Contents
		if got, err = scan(v, &source, maxBytes); !source.large {
			return got, false, err
		}
	}
	if source.large || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return Contents{}, true, nil
	}
	return Contents{}, false, blockError(v, err)
}

// windowReader reads from a zstd decoder and notices that a window is too large.
type windowReader struct {
	d     *zstd.Decoder
	large bool
}

// Read implements io.Reader.
func (r *windowReader) Read(p []byte) (int, error) {
	n, err := r.d.Read(p)
	r.large = r.large || errors.Is(err, zstd.ErrWindowSizeExceeded)
	return n, err
}
