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

// Codec is the compression of a batch's records. Its number is the low three bits of the batch's attributes.
type Codec int8

// The codecs of Kafka, with their numbers in the protocol.
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

// These constants bound the window of a zstd frame, which is how much decompressed data its decoder must keep. The
// largest accepted window is the caller's limit for the decompressed records, but at least 8 MiB, which every decoder
// should support (RFC 8878), and at most 64 MiB, which is enough for all compression levels except the highest.
const (
	minZstdWindowBytes = 8 << 20
	maxZstdWindowBytes = 64 << 20
)

// zstdDecoders is a pool of decoders, which are expensive to create. With a concurrency of 1 they have no goroutines.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxZstdWindowBytes))
	if err != nil {
		panic("batch: zstd options: " + err.Error()) // the options are constants, so that this cannot happen
	}
	return d
}}

// decompress returns the decompressed records, or ErrBomb if they are longer than maxBytes. For None it returns in
// itself, of any length.
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
		// A decoder in the pool must not keep in alive. Reset cannot fail with a nil reader.
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

// readBounded reads r to its end. It returns ErrBomb if there are more than maxBytes. It allocates at most about
// 2*maxBytes.
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

// xerialMagic is the beginning of the snappy format of the xerial library, which Java clients use: a header, and then
// blocks with their lengths. Other clients send a single raw block.
//
//	0x82 "SNAPPY" 0x00 | int32 version | int32 compatible version | { int32 length | snappy block }…
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

// unsnappy decompresses snappy data in the xerial format or as a raw block. It returns ErrBomb for more than maxBytes.
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

// unsnappyBlock decompresses one block and appends the result to out. It returns ErrBomb if out would be longer than
// maxBytes.
func unsnappyBlock(out, block []byte, maxBytes int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if errors.Is(err, snappy.ErrTooLarge) { // the length does not fit an int, or the format does not allow it
		return nil, ErrBomb
	}
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
