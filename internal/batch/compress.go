package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compress compresses the records in block and appends the result to dst. Every Kafka client can read the result. For
// Snappy, xerial selects the format of Java clients.
func compress(dst []byte, c Codec, xerial bool, block []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, block...), nil
	case Gzip:
		return compressStream(dst, &gzipWriters, block)
	case Snappy:
		if xerial {
			return appendXerial(dst, block), nil
		}
		return append(dst, snappy.Encode(nil, block)...), nil
	case LZ4:
		return compressStream(dst, &lz4Writers, block)
	case Zstd:
		w := zstdEncoders.Get().(*zstd.Encoder)
		defer zstdEncoders.Put(w)
		return w.EncodeAll(block, dst), nil
	}
	return dst, invalid(ErrUnsupportedCodec, attributesAt, "codec %d", c)
}

// streamWriter is a compressor that writes to an io.Writer: a *gzip.Writer or an *lz4.Writer.
type streamWriter interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// compressStream compresses block with a writer from the pool writers and appends the result to dst.
func compressStream(dst []byte, writers *sync.Pool, block []byte) ([]byte, error) {
	w := writers.Get().(streamWriter)
	defer writers.Put(w)
	out := appender{dst}
	w.Reset(&out)
	if _, err := w.Write(block); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	return out.b, nil
}

// appender is an io.Writer that appends to b.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// These are pools of compressors, which are expensive to create.
var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

	// Java clients only read lz4 frames with independent blocks, which is the default of this library. Kafka uses
	// blocks of 64 KiB.
	lz4Writers = sync.Pool{New: func() any {
		w := lz4.NewWriter(nil)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
			panic("batch: lz4 options: " + err.Error()) // the options are constants, so that this cannot happen
		}
		return w
	}}

	zstdEncoders = sync.Pool{New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic("batch: zstd options: " + err.Error()) // the options are constants, so that this cannot happen
		}
		return w
	}}
)

// isXerial reports whether the payload of a batch is in the snappy format of Java clients.
func isXerial(c Codec, payload []byte) bool {
	return c == Snappy && bytes.HasPrefix(payload, xerialMagic)
}

// xerialBlockBytes is the number of bytes that the xerial library compresses as one block.
const xerialBlockBytes = 32 << 10

// appendXerial compresses block in the snappy format of Java clients and appends the result to dst.
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
