package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// State is what a checkpoint records of a log: everything below End is in the segments and synced. Nothing in the
// directory is believed beyond it.
type State struct {
	Start, End int64
	Compacted  int64 // up to here compaction has been through; 0 if never
	Segments   []SegmentState
	Epochs     []EpochStart
	Replaced   []SegmentName // files of segments that compaction replaced, kept for the checkpoint before
}

// SegmentName names a segment's files: its first offset, and how often compaction has rewritten what begins there.
type SegmentName struct {
	Base       int64
	Generation uint32
}

// SegmentState describes one segment file: its first SizeBytes are batches [Base, base of the next or State.End). In
// one that compaction wrote (Generation > 0) batches of no records stand for what it took away.
type SegmentState struct {
	SegmentName
	SizeBytes      int64
	IndexBytes     int64 // how much of the index file may be used; never synced, so checked at use
	FirstTimestamp int64 // of the first batch, ms; rules SegmentAge
	MaxTimestamp   int64 // of all batches, ms; rules retention
	MaxBase        int64 // base offset of the first batch that has MaxTimestamp
	DeleteHorizon  int64 // the earliest of its batches', ms: then tombstones may go; -1: none has one
	Mark           Mark  // of all batches
}

func newSegment(base int64, generation uint32) SegmentState {
	return SegmentState{SegmentName: SegmentName{Base: base, Generation: generation}, DeleteHorizon: -1}
}

// EpochStart says at which offset a leader epoch began.
type EpochStart struct {
	Epoch  int32
	Offset int64
}

// ErrInvalidState matches the errors of DecodeState.
var ErrInvalidState = errors.New("partition: invalid state")

// A State as bytes. Numbers are varints (unsigned LEB128; zigzag where a sign is possible). Offsets and bases are
// differences to the number before, so that a state of few segments takes a few bytes each.
//
//	version=3 | start | end-start | compacted | n segments | n × { base - previous base (zigzag; first: - start) |
//	size bytes | index bytes | first timestamp (zigzag) | max timestamp - first (zigzag) | max base - base |
//	generation | if it isn't 0: delete horizon (zigzag) |
//	mark: last batch's bytes | if they aren't 0: first CRC, last CRC, CRC of all, u32 each }
//	| n epochs | n × { epoch (zigzag) | offset (zigzag) }
//	| n replaced | n × { base | generation }
//
// Version 2 had no mark. Version 1 had neither compacted, generation, delete horizon nor replaced, either: nothing was
// ever compacted.
const (
	stateVersion            = 3
	stateVersionMarks       = 3
	stateVersionCompactions = 2
)

// AppendTo appends the binary form to dst and returns the longer slice.
func (s State) AppendTo(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(s.Start))
	dst = binary.AppendUvarint(dst, uint64(s.End-s.Start))
	dst = binary.AppendUvarint(dst, uint64(s.Compacted))
	dst = binary.AppendUvarint(dst, uint64(len(s.Segments)))
	previous := s.Start
	for _, seg := range s.Segments {
		dst = binary.AppendVarint(dst, seg.Base-previous)
		dst = binary.AppendUvarint(dst, uint64(seg.SizeBytes))
		dst = binary.AppendUvarint(dst, uint64(seg.IndexBytes))
		dst = binary.AppendVarint(dst, seg.FirstTimestamp)
		dst = binary.AppendVarint(dst, seg.MaxTimestamp-seg.FirstTimestamp)
		dst = binary.AppendUvarint(dst, uint64(seg.MaxBase-seg.Base))
		dst = binary.AppendUvarint(dst, uint64(seg.Generation))
		if seg.Generation > 0 {
			dst = binary.AppendVarint(dst, seg.DeleteHorizon)
		}
		dst = seg.Mark.appendTo(dst)
		previous = seg.Base
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Epochs)))
	for _, e := range s.Epochs {
		dst = binary.AppendVarint(dst, int64(e.Epoch))
		dst = binary.AppendVarint(dst, e.Offset)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Replaced)))
	for _, name := range s.Replaced {
		dst = binary.AppendUvarint(dst, uint64(name.Base))
		dst = binary.AppendUvarint(dst, uint64(name.Generation))
	}
	return dst
}

// DecodeState reads a state from the beginning of b and returns what follows it. Errors match ErrInvalidState; a newer
// version is one. It doesn't protect against flipped bits: the checkpoint that carries states has a checksum.
func DecodeState(b []byte) (State, []byte, error) {
	if len(b) == 0 || b[0] == 0 || b[0] > stateVersion {
		return State{}, nil, fmt.Errorf("%w: version %v, want %d", ErrInvalidState, b[:min(len(b), 1)], stateVersion)
	}
	compactions, marks := b[0] >= stateVersionCompactions, b[0] >= stateVersionMarks
	d := stateDecoder{b: b[1:]}
	s := State{Start: int64(d.unsigned())}
	s.End = s.Start + int64(d.unsigned())
	if compactions {
		s.Compacted = int64(d.unsigned())
	}

	previous := s.Start
	for n := d.unsigned(); n > 0 && !d.short; n-- {
		seg := newSegment(previous+d.signed(), 0)
		seg.SizeBytes, seg.IndexBytes = int64(d.unsigned()), int64(d.unsigned())
		seg.FirstTimestamp = d.signed()
		seg.MaxTimestamp = seg.FirstTimestamp + d.signed()
		seg.MaxBase = seg.Base + int64(d.unsigned())
		if compactions {
			if seg.Generation = uint32(d.unsigned()); seg.Generation > 0 {
				seg.DeleteHorizon = d.signed()
			}
		}
		if marks {
			seg.Mark = d.mark()
		}
		s.Segments = append(s.Segments, seg)
		previous = seg.Base
	}
	for n := d.unsigned(); n > 0 && !d.short; n-- {
		s.Epochs = append(s.Epochs, EpochStart{Epoch: int32(d.signed()), Offset: d.signed()})
	}
	if compactions {
		for n := d.unsigned(); n > 0 && !d.short; n-- {
			s.Replaced = append(s.Replaced, SegmentName{Base: int64(d.unsigned()), Generation: uint32(d.unsigned())})
		}
	}
	if d.short {
		return State{}, nil, fmt.Errorf("%w: it ends too early", ErrInvalidState)
	}
	if err := s.check(); err != nil {
		return State{}, nil, err
	}
	return s, d.b, nil
}

// check finds states that no log can have.
func (s State) check() error {
	if s.Start < 0 || s.End < s.Start || s.Compacted < 0 || s.Compacted > s.End {
		return fmt.Errorf("%w: offsets [%d, %d), compacted to %d", ErrInvalidState, s.Start, s.End, s.Compacted)
	}
	for i, seg := range s.Segments {
		if seg.Base < 0 || seg.Base > s.End || seg.SizeBytes < 0 || seg.SizeBytes > maxSegmentBytes || seg.IndexBytes < 0 ||
			seg.Mark.LastBytes < 0 || seg.Mark.LastBytes > seg.SizeBytes ||
			i > 0 && seg.Base <= s.Segments[i-1].Base {
			return fmt.Errorf("%w: segment %d of %d: base %d, %d bytes", ErrInvalidState, i, len(s.Segments), seg.Base, seg.SizeBytes)
		}
	}
	for i, e := range s.Epochs {
		if i > 0 && (e.Epoch <= s.Epochs[i-1].Epoch || e.Offset < s.Epochs[i-1].Offset) {
			return fmt.Errorf("%w: epoch %d at %d", ErrInvalidState, e.Epoch, e.Offset)
		}
	}
	return nil
}

// stateDecoder reads varints; past the end it gives zeros and says so in short.
type stateDecoder struct {
	b     []byte
	short bool
}

func (d *stateDecoder) unsigned() uint64 {
	x, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.short, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (d *stateDecoder) signed() int64 {
	u := d.unsigned()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *stateDecoder) fixed32() uint32 {
	if len(d.b) < 4 {
		d.short, d.b = true, nil
		return 0
	}
	x := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return x
}
