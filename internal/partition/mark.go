package partition

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// Mark tells the batches of a segment from all others. A batch has a checksum and its offset, but doesn't say whose it
// is: without a mark, a file of another partition that begins at the same offset would pass. The zero Mark knows
// nothing; states before version 3 had none.
type Mark struct {
	LastBytes   int64  // length of the last batch; 0: nothing is known
	First, Last uint32 // checksums of the first batch and the last
	All         uint32 // CRC-32C of the checksums of all batches, in order
}

// add continues the mark of a segment that has sizeBytes so far. One that knew nothing of them never will.
func (m *Mark) add(sizeBytes int64, v batch.View) {
	if sizeBytes > 0 && m.LastBytes == 0 {
		return
	}
	n, _ := batch.Length(v) // v may be no more than a head
	if sizeBytes == 0 {
		m.First = v.CRC()
	}
	m.LastBytes, m.Last = int64(n), v.CRC()
	m.All = crc32.Update(m.All, castagnoli, binary.BigEndian.AppendUint32(make([]byte, 0, 4), v.CRC()))
}

func (m Mark) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(m.LastBytes))
	if m.LastBytes == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint32(dst, m.First)
	dst = binary.BigEndian.AppendUint32(dst, m.Last)
	return binary.BigEndian.AppendUint32(dst, m.All)
}

func (d *stateDecoder) mark() Mark {
	m := Mark{LastBytes: int64(d.unsigned())}
	if m.LastBytes != 0 {
		m.First, m.Last, m.All = d.fixed32(), d.fixed32(), d.fixed32()
	}
	return m
}

// notOurs is what is wrong with a file that holds other batches than those on record.
const notOurs = "it holds batches of another segment: they are not those on record"

// vouch makes sure that an open file is the one that was written, by the mark of a segment's snapshot: once for each time
// that the file is opened. Damage is no other file: it is left to the reads that meet it.
func (l *Log) vouch(f *openFile, seg *segment) error {
	if f.vouched.Load() {
		return nil
	}
	same, err := l.isMarked(f, seg)
	if err != nil {
		return err
	}
	if !same {
		return &CorruptError{File: f.key.path(), Reason: notOurs}
	}
	f.vouched.Store(true)
	return nil
}

// vouchToCut looks whose a file is before what the state doesn't know of it is cut. Another's file gets a damaged
// segment.
func (l *Log) vouchToCut(seg *segment) error {
	f, err := l.open(seg)
	if damage, ok := errors.AsType[*CorruptError](err); ok {
		seg.full, seg.damage = true, damage
		return nil
	}
	if err != nil {
		return err
	}
	// It was only read: closing it has nothing to lose.
	_ = f.release()
	return nil
}

// isMarked compares a file with the mark on record. Where first and last batch are right, two reads will do.
func (l *Log) isMarked(f *openFile, seg *segment) (bool, error) {
	m := seg.Mark
	if m.LastBytes == 0 {
		return true, nil
	}
	first, err := readHead(f, 0)
	if err != nil {
		return false, err
	}
	if first.CRC() != m.First {
		sound, err := isSound(f, first, seg)
		return !sound, err
	}
	last, err := readHead(f, seg.SizeBytes-m.LastBytes)
	if err != nil {
		return false, err
	}
	if n, _ := batch.Length(last); last.CRC() == m.Last && int64(n) == m.LastBytes {
		return true, nil
	}
	// Either the last batch is damaged, or two partitions begin with the very same batch. All of it tells.
	w := l.walkOpen(f, seg, 0, seg.Base, scanBytes)
	defer walkBuffers.Put(w.pooled)
	var found segment
	for {
		v, err := w.next()
		if _, damaged := errors.AsType[*CorruptError](err); damaged {
			return true, nil
		}
		if err == io.EOF {
			return found.Mark == m, nil
		}
		if err != nil {
			return false, err
		}
		found.add(v, DefaultIndexIntervalBytes)
	}
}

// isSound says whether a segment's file begins with a whole batch.
func isSound(f vfs.File, head batch.View, seg *segment) (bool, error) {
	n, ok := batch.Length(head)
	if !ok || int64(n) > seg.SizeBytes || head.BaseOffset() != seg.Base {
		return false, nil
	}
	whole := make([]byte, n)
	if got, err := f.ReadAt(whole, 0); got < n {
		if err == io.EOF {
			err = nil
		}
		return false, err
	}
	return batch.Check(whole) == nil, nil
}

// readHead reads what there is of a batch's head; what isn't there is zeros.
func readHead(f vfs.File, position int64) (batch.View, error) {
	head := make(batch.View, batch.HeaderBytes)
	if n, err := f.ReadAt(head, position); n < len(head) && err != io.EOF {
		return nil, err
	}
	return head, nil
}
