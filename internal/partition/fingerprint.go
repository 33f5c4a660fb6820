package partition

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/fields"
	"tidings.dev/internal/vfs"
)

// Fingerprint identifies the content of a segment by the checksums of its first and its last batch and a checksum over
// the checksums of all batches. It detects a file of another partition that begins at the same offset: a batch contains
// its offset and a checksum, but no partition. The zero Fingerprint matches every segment; states before version 3
// contain no other.
type Fingerprint struct {
	LastBytes   int64  // length of the last batch in bytes; 0 means that the Fingerprint is the zero value
	First, Last uint32 // checksums of the first batch and of the last batch
	All         uint32 // CRC-32C of the checksums of all batches, in order
}

// add adds the batch v to the fingerprint of a segment that had sizeBytes before v. If sizeBytes is not 0 and m is
// zero, earlier batches are missing from m and add leaves it zero. v may be only the head of a batch.
func (m *Fingerprint) add(sizeBytes int64, v batch.View) {
	if sizeBytes > 0 && m.LastBytes == 0 {
		return
	}
	n, _ := batch.Length(v)
	if sizeBytes == 0 {
		m.First = v.CRC()
	}
	m.LastBytes, m.Last = int64(n), v.CRC()
	m.All = crc32.Update(m.All, castagnoli, binary.BigEndian.AppendUint32(make([]byte, 0, 4), v.CRC()))
}

// appendTo appends the binary form, as State.AppendTo describes it, to dst.
func (m Fingerprint) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(m.LastBytes))
	if m.LastBytes == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint32(dst, m.First)
	dst = binary.BigEndian.AppendUint32(dst, m.Last)
	return binary.BigEndian.AppendUint32(dst, m.All)
}

// readFingerprint reads the binary form that appendTo writes.
func readFingerprint(r *fields.Reader) Fingerprint {
	f := Fingerprint{LastBytes: int64(r.Uvarint())}
	if f.LastBytes != 0 {
		f.First, f.Last, f.All = r.Uint32(), r.Uint32(), r.Uint32()
	}
	return f
}

// reasonForeign is the CorruptError.Reason, or Damage.Reason, of a file that contains the batches of another segment.
const reasonForeign = "it holds batches of another segment: they are not those on record"

// verifyIdentity checks by the fingerprint in seg that an open file contains the batches of the segment seg. It does so
// once after each time that the file is opened. For a file of another segment it returns a *CorruptError. A file with
// damaged batches passes, since the reads of these batches will report the damage.
func (l *Log) verifyIdentity(f *openFile, seg *segment) error {
	if f.verified.Load() {
		return nil
	}
	same, err := l.matchesFingerprint(f, seg)
	if err != nil {
		return err
	}
	if !same {
		return &CorruptError{File: f.key.path(), Reason: reasonForeign}
	}
	f.verified.Store(true)
	return nil
}

// verifyBeforeCut checks that the file of seg is really that of seg, before OpenToReplay cuts the bytes after the
// state's end. If the file is another segment's, verifyBeforeCut marks seg as damaged and returns nil. Its error is one
// of I/O.
func (l *Log) verifyBeforeCut(seg *segment) error {
	f, err := l.open(seg)
	if damage, ok := errors.AsType[*CorruptError](err); ok {
		seg.full, seg.damage = true, damage
		return nil
	}
	if err != nil {
		return err
	}
	// The file was only read, so that an error of release can be ignored.
	_ = f.release()
	return nil
}

// matchesFingerprint reports whether a file matches the fingerprint in seg. If the first and the last batch are
// undamaged, it needs only two reads.
func (l *Log) matchesFingerprint(f *openFile, seg *segment) (bool, error) {
	want := seg.Fingerprint
	if want.LastBytes == 0 {
		return true, nil
	}
	first, err := readHead(f, 0)
	if err != nil {
		return false, err
	}
	if first.CRC() != want.First {
		sound, err := isSound(f, first, seg)
		return !sound, err
	}
	last, err := readHead(f, seg.SizeBytes-want.LastBytes)
	if err != nil {
		return false, err
	}
	if n, _ := batch.Length(last); last.CRC() == want.Last && int64(n) == want.LastBytes {
		return true, nil
	}
	// Either the last batch is damaged, or another segment begins with the very same batch, so the whole file is
	// compared.
	w := l.walkOpen(f, seg, 0, seg.Base, scanBytes)
	defer walkBuffers.Put(w.pooled)
	var found segment
	for {
		v, err := w.next()
		if _, damaged := errors.AsType[*CorruptError](err); damaged {
			return true, nil
		}
		if err == io.EOF {
			return found.Fingerprint == want, nil
		}
		if err != nil {
			return false, err
		}
		found.add(v, DefaultIndexIntervalBytes)
	}
}

// isSound reports whether a file begins with a whole, undamaged batch at the base offset of seg. head is the head of
// that batch.
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

// readHead reads the head of the batch at a position. If the file ends before, the missing bytes are zeros.
func readHead(f vfs.File, position int64) (batch.View, error) {
	head := make(batch.View, batch.HeaderBytes)
	if n, err := f.ReadAt(head, position); n < len(head) && err != io.EOF {
		return nil, err
	}
	return head, nil
}
