package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is how a batch's records are compressed: the low three bits of its attributes.
type Codec int8

// The codecs of Kafka, by their numbers on the wire.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

func (c Codec) String() string {
	if c < None || c > Zstd {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return [...]string{"none", "gzip", "snappy", "lz4", "zstd"}[c]
}

// A zstd frame says how much of what it holds must be kept to decode it: its window. One as large as the caller lets the
// records be is read, within what every decoder should take by RFC 8878 and what the highest levels but one ask for.
const (
	minZstdWindowBytes = 8 << 20
	maxZstdWindowBytes = 64 << 20
)

// A zstd decoder costs much to make and holds no goroutine at concurrency 1, so they are kept.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxZstdWindowBytes))
	if err != nil {
		panic("batch: zstd options: " + err.Error()) // they are constants
	}
	return d
}}

// decompress returns the record block in the clear, at most maxBytes of it; without a codec that is the input itself,
// whatever its length.
func decompress(c Codec, in []byte, maxBytes int) ([]byte, error) {
	var out []byte
	var err error
	switch c {
	case None:
		return in, nil
	case Gzip:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(in)); err == nil {
			out, err = readBounded(r, len(in), maxBytes)
		}
	case Snappy:
		out, err = unsnappy(in, maxBytes)
	case LZ4:
		out, err = readBounded(lz4.NewReader(bytes.NewReader(in)), len(in), maxBytes)
	case Zstd:
		d := zstdDecoders.Get().(*zstd.Decoder)
		window := max(minZstdWindowBytes, min(maxBytes, maxZstdWindowBytes))
		if err = d.ResetWithOptions(bytes.NewReader(in), zstd.WithDecoderMaxWindow(uint64(window))); err == nil {
			out, err = readBounded(d, len(in), maxBytes)
		}
		// Let go of the input. A reset to nil can't fail.
		_ = d.Reset(nil)
		zstdDecoders.Put(d)
	default:
		return nil, invalid(ErrUnsupportedCodec, attributesAt, "codec %d", c)
	}
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, ErrBomb), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, invalid(ErrBomb, HeaderBytes, "%d bytes of %v hold more than %d", len(in), c, maxBytes)
	default:
		return nil, invalid(ErrInvalidRecord, HeaderBytes, "%v: %v", c, err)
	}
}

// readBounded reads r to its end. It never holds more than about twice maxBytes.
func readBounded(r io.Reader, inBytes, maxBytes int) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, min(max(4*inBytes, 512), max(maxBytes, 0)+bytes.MinRead)))
	n, err := out.ReadFrom(io.LimitReader(r, int64(maxBytes)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(maxBytes) {
		return nil, ErrBomb
	}
	return out.Bytes(), nil
}

// Java clients frame snappy as the xerial library does: a head, then blocks with their lengths. Others send one raw
// block.
//
//	0x82 "SNAPPY" 0x00 | int32 version | int32 compatible version | { int32 length | snappy block }…
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

func unsnappy(in []byte, maxBytes int) ([]byte, error) {
	if !bytes.HasPrefix(in, xerialMagic) {
		return unsnappyBlock(nil, in, maxBytes)
	}
	if len(in) < xerialHeaderBytes {
		return nil, snappy.ErrCorrupt
	}
	var out []byte
	for in = in[xerialHeaderBytes:]; len(in) > 0; {
		if len(in) < 4 {
			return nil, snappy.ErrCorrupt
		}
		n := binary.BigEndian.Uint32(in)
		if in = in[4:]; uint64(n) > uint64(len(in)) {
			return nil, snappy.ErrCorrupt
		}
		var err error
		if out, err = unsnappyBlock(out, in[:n], maxBytes); err != nil {
			return nil, err
		}
		in = in[n:]
	}
	return out, nil
}

// unsnappyBlock appends one block to out.
func unsnappyBlock(out, block []byte, maxBytes int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > maxBytes-len(out) {
		return nil, ErrBomb
	}
	part, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return part, nil
	}
	return append(out, part...), nil
}
