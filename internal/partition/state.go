package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tidings.dev/internal/fields"
)

// State is what a checkpoint records of a log. All batches below End are in the segments and synced. Bytes and files in
// the log's directory that the State does not describe do not count.
type State struct {
	Start, End int64 // first offset that may be read, and the offset after the last batch
	Compacted  int64 // among the records below this offset each key occurs once at most; 0 if the log was never compacted
	Segments   []SegmentState
	Epochs     []EpochStart
	Replaced   []SegmentName // segments that compaction has replaced and whose files the previous checkpoint still needs
	// Open and Aborted are the transactions below End: those without a marker below it, by First, and those that were
	// aborted and whose marker is at or above Start, by Last.
	Open    []OpenTransaction
	Aborted []AbortedTransaction
}

// SegmentName identifies a segment by its base offset and its generation, which counts how often compaction has written
// a segment with this base offset.
type SegmentName struct {
	Base       int64
	Generation uint32
}

// SegmentState describes one segment file. The first SizeBytes of the file are the batches with offsets from Base to
// the base of the next segment, or to State.End for the last segment. In a segment that compaction has written
// (Generation > 0), empty batches stand for batches that were removed.
type SegmentState struct {
	SegmentName
	SizeBytes int64
	// IndexBytes is the number of bytes of the index file that may be used. These are not synced, so that each entry is
	// checked at its use.
	IndexBytes     int64
	FirstTimestamp int64 // timestamp of the first batch, ms since the Unix epoch; Config.SegmentAge is measured from it
	MaxTimestamp   int64 // largest timestamp of all batches, ms since the Unix epoch; Config.Retention is measured from it
	MaxBase        int64 // base offset of the first batch with MaxTimestamp
	// DeleteHorizon is the earliest delete horizon of a batch, in ms since the Unix epoch, after which tombstones may
	// be removed. It is -1 if no batch has one.
	DeleteHorizon int64
	Fingerprint   Fingerprint // identifies the content of the file
}

// newSegment returns the state of an empty segment.
func newSegment(base int64, generation uint32) SegmentState {
	return SegmentState{SegmentName: SegmentName{Base: base, Generation: generation}, DeleteHorizon: -1}
}

// EpochStart is a leader epoch with the offset at which it begins.
type EpochStart struct {
	Epoch  int32
	Offset int64
}

// ErrInvalidState is matched by the errors of DecodeState and of Open for a state that no log can have.
var ErrInvalidState = errors.New("partition: invalid state")

// These constants belong to the binary form of a State. Numbers in it are varints: unsigned LEB128, with zigzag
// encoding where a number may be negative. Offsets and bases are stored as differences to the number before, so that
// each number takes few bytes.
//
//	version=4 | start | end-start | compacted | n segments | n × { base - previous base (zigzag; first: - start) |
//	size bytes | index bytes | first timestamp (zigzag) | max timestamp - first (zigzag) | max base - base |
//	generation | if it isn't 0: delete horizon (zigzag) |
//	fingerprint: last batch's bytes | if they aren't 0: first CRC, last CRC, CRC of all, u32 each }
//	| n epochs | n × { epoch (zigzag) | offset (zigzag) }
//	| n replaced | n × { base | generation }
//	| n open | n × { producer id | epoch | first - previous first (zigzag; first: - start) }
//	| n aborted | n × { producer id | last - previous last (zigzag; first: - start) | last - first | last - stable (zigzag) }
//
// A state without transactions is written in version 3, which has neither of the last two lists, so that older programs
// can read it. Version 2 has no fingerprint. Version 1, from before there was compaction, also lacks compacted, generation, delete
// horizon and the list of replaced segments.
const (
	stateVersion             = 4
	stateVersionTransactions = 4
	stateVersionFingerprints = 3
	stateVersionCompactions  = 2
)

// AppendTo appends the binary form of s to dst and returns the extended slice. The form has no checksum of its own.
func (s State) AppendTo(dst []byte) []byte {
	version := byte(stateVersionTransactions)
	if len(s.Open)+len(s.Aborted) == 0 {
		version = stateVersionFingerprints
	}
	dst = append(dst, version)
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
		dst = seg.Fingerprint.appendTo(dst)
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
	if version < stateVersionTransactions {
		return dst
	}
	return s.appendTransactions(dst)
}

// appendTransactions appends the lists of transactions to dst.
func (s State) appendTransactions(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.Open)))
	previous := s.Start
	for _, o := range s.Open {
		dst = binary.AppendUvarint(dst, uint64(o.ProducerID))
		dst = binary.AppendUvarint(dst, uint64(o.Epoch))
		dst = binary.AppendVarint(dst, o.First-previous)
		previous = o.First
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Aborted)))
	previous = s.Start
	for _, a := range s.Aborted {
		dst = binary.AppendUvarint(dst, uint64(a.ProducerID))
		dst = binary.AppendVarint(dst, a.Last-previous)
		dst = binary.AppendUvarint(dst, uint64(a.Last-a.First))
		dst = binary.AppendVarint(dst, a.Last-a.Stable)
		previous = a.Last
	}
	return dst
}

// readTransactions decodes the lists that appendTransactions has appended.
func (s *State) readTransactions(r *fields.Reader) {
	previous := s.Start
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		o := OpenTransaction{ProducerID: int64(r.Uvarint()), Epoch: int16(r.UvarintUpTo(math.MaxInt16)), First: previous + r.Varint()}
		s.Open = append(s.Open, o)
		previous = o.First
	}
	previous = s.Start
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		a := AbortedTransaction{ProducerID: int64(r.Uvarint()), Last: previous + r.Varint()}
		a.First = a.Last - int64(r.Uvarint())
		a.Stable = a.Last - r.Varint()
		s.Aborted = append(s.Aborted, a)
		previous = a.Last
	}
}

// DecodeState decodes a State from the beginning of b and returns it with the bytes that follow. The error matches
// ErrInvalidState, also for a state of a newer version. Changed bits may not be noticed: the checkpoint that contains
// the state has a checksum.
func DecodeState(b []byte) (State, []byte, error) {
	if len(b) == 0 || b[0] == 0 || b[0] > stateVersion {
		return State{}, nil, fmt.Errorf("%w: version %v, want %d", ErrInvalidState, b[:min(len(b), 1)], stateVersion)
	}
	compactions, fingerprints := b[0] >= stateVersionCompactions, b[0] >= stateVersionFingerprints
	r := fields.NewReader(b[1:], ErrInvalidState)
	s := State{Start: int64(r.Uvarint())}
	s.End = s.Start + int64(r.Uvarint())
	if compactions {
		s.Compacted = int64(r.Uvarint())
	}

	previous := s.Start
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		seg := newSegment(previous+r.Varint(), 0)
		seg.SizeBytes, seg.IndexBytes = int64(r.Uvarint()), int64(r.Uvarint())
		seg.FirstTimestamp = r.Varint()
		seg.MaxTimestamp = seg.FirstTimestamp + r.Varint()
		seg.MaxBase = seg.Base + int64(r.Uvarint())
		if compactions {
			if seg.Generation = uint32(r.Uvarint()); seg.Generation > 0 {
				seg.DeleteHorizon = r.Varint()
			}
		}
		if fingerprints {
			seg.Fingerprint = readFingerprint(&r)
		}
		s.Segments = append(s.Segments, seg)
		previous = seg.Base
	}
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		s.Epochs = append(s.Epochs, EpochStart{Epoch: int32(r.Varint()), Offset: r.Varint()})
	}
	if compactions {
		for n := r.Uvarint(); n > 0 && r.OK(); n-- {
			s.Replaced = append(s.Replaced, SegmentName{Base: int64(r.Uvarint()), Generation: uint32(r.Uvarint())})
		}
	}
	if b[0] >= stateVersionTransactions {
		s.readTransactions(&r)
	}
	if err := r.Err(); err != nil {
		return State{}, nil, err
	}
	if err := s.check(); err != nil {
		return State{}, nil, err
	}
	return s, r.Rest(), nil
}

// check returns an error that matches ErrInvalidState if no log can have the state s.
func (s State) check() error {
	if s.Start < 0 || s.End < s.Start || s.Compacted < 0 || s.Compacted > s.End {
		return fmt.Errorf("%w: offsets [%d, %d), compacted to %d", ErrInvalidState, s.Start, s.End, s.Compacted)
	}
	for i, seg := range s.Segments {
		if seg.Base < 0 || seg.Base > s.End || seg.SizeBytes < 0 || seg.SizeBytes > maxSegmentBytes || seg.IndexBytes < 0 ||
			seg.Fingerprint.LastBytes < 0 || seg.Fingerprint.LastBytes > seg.SizeBytes ||
			i > 0 && seg.Base <= s.Segments[i-1].Base {
			return fmt.Errorf("%w: segment %d of %d: base %d, %d bytes", ErrInvalidState, i, len(s.Segments), seg.Base, seg.SizeBytes)
		}
	}
	for i, e := range s.Epochs {
		if i > 0 && (e.Epoch <= s.Epochs[i-1].Epoch || e.Offset < s.Epochs[i-1].Offset) {
			return fmt.Errorf("%w: epoch %d at %d", ErrInvalidState, e.Epoch, e.Offset)
		}
	}
	for i, o := range s.Open {
		if o.ProducerID < 0 || o.First < 0 || o.First >= s.End || i > 0 && o.First <= s.Open[i-1].First {
			return fmt.Errorf("%w: open transaction of producer %d at %d", ErrInvalidState, o.ProducerID, o.First)
		}
	}
	for i, a := range s.Aborted {
		if a.ProducerID < 0 || a.First < 0 || a.First >= a.Last || a.Last >= s.End || a.Stable < 0 || a.Stable > a.Last+1 ||
			i > 0 && a.Last <= s.Aborted[i-1].Last {
			return fmt.Errorf("%w: aborted transaction of producer %d at [%d, %d]", ErrInvalidState, a.ProducerID, a.First, a.Last)
		}
	}
	return nil
}
