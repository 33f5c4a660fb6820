package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compress appends the record block to dst under a codec, as any client can read it. xerial asks for the frames of
// Java's snappy.
func compress(dst []byte, c Codec, xerial bool, block []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, block...), nil
	case Gzip:
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		out := appender{dst}
		w.Reset(&out)
		if _, err := w.Write(block); err != nil {
			return dst, err
		}
		if err := w.Close(); err != nil {
			return dst, err
		}
		return out.b, nil
	case Snappy:
		if xerial {
			return appendXerial(dst, block), nil
		}
		return append(dst, snappy.Encode(nil, block)...), nil
	case LZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		out := appender{dst}
		w.Reset(&out)
		if _, err := w.Write(block); err != nil {
			return dst, err
		}
		if err := w.Close(); err != nil {
			return dst, err
		}
		return out.b, nil
	case Zstd:
		w := zstdEncoders.Get().(*zstd.Encoder)
		defer zstdEncoders.Put(w)
		return w.EncodeAll(block, dst), nil
	}
	return dst, invalid(ErrUnsupportedCodec, attributesAt, "codec %d", c)
}

// appender is a slice that is written to.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// Encoders cost much to make, so they are kept.
var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

	// Java's reader of lz4 frames wants independent blocks, which is this library's default, and Kafka's own are 64 KiB.
	lz4Writers = sync.Pool{New: func() any {
		w := lz4.NewWriter(nil)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
			panic("batch: lz4 options: " + err.Error()) // they are constants
		}
		return w
	}}

	zstdEncoders = sync.Pool{New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic("batch: zstd options: " + err.Error()) // they are constants
		}
		return w
	}}
)

// isXerial says whether a snappy block stands in the frames of Java's library.
func isXerial(c Codec, payload []byte) bool {
	return c == Snappy && bytes.HasPrefix(payload, xerialMagic)
}

// xerialBlockBytes is how much the xerial library puts into one block.
const xerialBlockBytes = 32 << 10

func appendXerial(dst, block []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1) // version
	dst = binary.BigEndian.AppendUint32(dst, 1) // compatible version
	for len(block) > 0 {
		n := min(len(block), xerialBlockBytes)
		part := snappy.Encode(nil, block[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
		dst = append(dst, part...)
		block = block[n:]
	}
	return dst
}
