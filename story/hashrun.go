package story

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The bucket hashes leads from hashes to stories: from the hash of an event's id, source and type, of a correlation, and of a
// trace id. Hashes are random keys, and a B+tree has to rewrite a page for nearly each of them. So each transaction adds its
// entries as a run, which is sorted, and merges it with the runs before it unless they are at least runRatio times as long; long ones
// are merged little by little (hashmerge.go). A lookup asks all runs, of which there are few: the logarithm of the number of entries, and one for each maxRun entries.
//
// A run is cut into pieces, each of which is a row:
//
//	│ run 4 │ piece 4 │   →   │ filter, see hashfilter.go │ hash 8 │ where 8 │ …    ascending by both
//
// Entries of stories that were forgotten stay until their runs are merged; lookups pass over them.

// hashEntry is an entry of the bucket hashes.
type hashEntry struct {
	hash  uint64
	where where
}

// where is the place that a hash leads to: a story, and for an event the number of a group of storyGroup records of the story
// (storyrows.go), of which one is that of the event.
type where uint64

const (
	whereGroupBits = 24
	maxGroup       = 1<<whereGroupBits - 1 // events of groups after it are not found by their ids
)

func whereOf(n storyNum, group uint32) where {
	return where(n)<<whereGroupBits | where(min(group, maxGroup))
}

func (w where) story() storyNum { return storyNum(w >> whereGroupBits) }
func (w where) group() uint32   { return uint32(w & maxGroup) }

const (
	hashEntryLen = 16
	pieceEntries = 1920 // two pieces fill 16 pages of bbolt
	runRatio     = 4
)

// hashRun describes a run. The Index has those of all runs in memory.
type hashRun struct {
	num    uint32
	n      int      // entries
	firsts []uint64 // the first hash of each piece
}

// hashReader looks up hashes in one transaction.
type hashReader struct {
	bucket *bolt.Bucket
	runs   []*hashRun
	gone   *storySet     // stories that are not to be found; nil: none
	kept   [][]hashPiece // pieces that were read, by the places of their runs in runs; nil if they are not kept
	err    error
}

func newHashReader(b *bolt.Bucket, runs []*hashRun) *hashReader {
	return &hashReader{bucket: b, runs: runs}
}

// keep makes the reader keep the pieces that it reads. This saves time if there are many lookups, and costs some if there are
// few.
func (r *hashReader) keep() {
	r.kept = make([][]hashPiece, len(r.runs))
	for i, run := range r.runs {
		r.kept[i] = make([]hashPiece, len(run.firsts))
	}
}

// piece returns a piece of a run.
func (r *hashReader) piece(run, i int) (p hashPiece) {
	if r.kept != nil && r.kept[run][i].entries != nil {
		return r.kept[run][i]
	}
	p, err := parsePiece(r.bucket.Get(pieceKey(r.runs[run].num, i)))
	r.err = cmp.Or(r.err, err)
	if r.kept != nil {
		r.kept[run][i] = p
	}
	return p
}

// pieceOf returns the number of the first piece that can have a hash. Hashes are spread evenly, so that it is close to where
// the hash is in their range.
func (run *hashRun) pieceOf(hash uint64) int {
	i := int(hash >> 32 * uint64(len(run.firsts)) >> 32)
	for i > 0 && run.firsts[i] >= hash {
		i--
	}
	for i+1 < len(run.firsts) && run.firsts[i+1] < hash {
		i++
	}
	return i
}

// find appends the places that the hashes in [lo, hi] lead to.
func (r *hashReader) find(found []where, lo, hi uint64) []where {
	for n, run := range r.runs {
		for i := run.pieceOf(lo); i < len(run.firsts) && (i == 0 || run.firsts[i] <= hi); i++ {
			piece := r.piece(n, i)
			if lo == hi && !piece.mayHave(lo) {
				continue
			}
			for all := searchPiece(piece.entries, lo); len(all) > 0; all = all[hashEntryLen:] {
				e := parseHashEntry(all)
				if e.hash > hi {
					break
				}
				if !r.gone.has(e.where.story()) {
					found = append(found, e.where)
				}
			}
		}
	}
	return found
}

// searchPiece returns the entries of a piece from the first one on whose hash is at least lo. Hashes are spread evenly, so that
// its place can be guessed to within the square root of the number of entries.
func searchPiece(piece []byte, lo uint64) []byte {
	from, to := 0, len(piece)/hashEntryLen // the first one is in [from, to]
	hash := func(i int) uint64 { return binary.BigEndian.Uint64(piece[i*hashEntryLen:]) }
	for range 3 {
		if to-from < 16 {
			break
		}
		first, last := hash(from), hash(to-1)
		if lo <= first || last < lo {
			break
		}
		guess := from + int(float64(lo-first)/float64(last-first)*float64(to-1-from))
		off := int(math.Sqrt(float64(to - from)))
		if l := guess - off; l > from && hash(l) < lo {
			from = l
		}
		if r := guess + off; r < to && hash(r) >= lo {
			to = r + 1
		}
	}
	for from < to {
		mid := int(uint(from+to) / 2)
		if hash(mid) < lo {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return piece[from*hashEntryLen:]
}

// hashWriter adds entries in a write transaction.
type hashWriter struct {
	*hashReader
	set   *hashRuns // changed by flush
	added []hashEntry
	// slots is a hash table of added: numbers of entries, from 1, each in the first free slot from that on which its hash names.
	// At most half of the slots are taken.
	slots []int32
}

func newHashWriter(b *bolt.Bucket, set *hashRuns) *hashWriter {
	return &hashWriter{hashReader: newHashReader(b, set.runs), set: set, slots: make([]int32, 16)}
}

// find appends the places that a hash leads to, including those that were added in this transaction.
func (w *hashWriter) find(found []where, hash uint64) []where {
	found = w.hashReader.find(found, hash, hash)
	for i := w.slot(hash); w.slots[i] > 0; i = (i + 1) % len(w.slots) {
		if e := w.added[w.slots[i]-1]; e.hash == hash {
			found = append(found, e.where)
		}
	}
	return found
}

// slot returns the first slot for a hash.
func (w *hashWriter) slot(hash uint64) int { return int(hash % uint64(len(w.slots))) }

// add adds an entry.
func (w *hashWriter) add(hash uint64, to where) {
	w.added = append(w.added, hashEntry{hash, to})
	if 2*len(w.added) > len(w.slots) {
		w.slots = make([]int32, 2*len(w.slots))
		for n := range w.added[:len(w.added)-1] {
			w.take(n)
		}
	}
	w.take(len(w.added) - 1)
}

// take writes the number of an entry in added into the first free slot from that of its hash on.
func (w *hashWriter) take(n int) {
	i := w.slot(w.added[n].hash)
	for w.slots[i] > 0 {
		i = (i + 1) % len(w.slots)
	}
	w.slots[i] = int32(n + 1)
}

// flush writes the entries that were added as a run, and merges runs. gone reports whether an entry is to be left out.
func (w *hashWriter) flush(gone func(where) bool) {
	if w.err != nil {
		return
	}
	if len(w.added) > 0 {
		w.addRun()
	}
	w.work(len(w.added), gone)
}

// addRun writes the entries that were added as a run, to which it merges short runs before it.
func (w *hashWriter) addRun() {
	slices.SortFunc(w.added, func(a, b hashEntry) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Compare(a.where, b.where)
	})
	rows := make([]byte, 0, len(w.added)*hashEntryLen)
	for _, e := range w.added {
		rows = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(rows, e.hash), uint64(e.where))
	}
	keep, n := len(w.runs), len(w.added)
	for keep > 0 && w.runs[keep-1].n < runRatio*n && w.runs[keep-1].n+n <= inlineRun && !w.set.merging(w.runs[keep-1]) {
		keep--
		n += w.runs[keep].n
		rows = mergeRows(w.rows(keep), rows)
	}
	for _, run := range w.runs[keep:] {
		for i := range run.firsts {
			w.fail(w.bucket.Delete(pieceKey(run.num, i)))
		}
	}
	run := &hashRun{num: w.set.nextNum(), n: n}
	for len(rows) > 0 {
		piece := rows[:min(len(rows), pieceEntries*hashEntryLen)]
		rows = rows[len(piece):]
		w.putPiece(run, piece)
	}
	w.set.runs = append(slices.Clip(w.runs[:keep]), run)
}

// rows returns all entries of a run, encoded.
func (w *hashWriter) rows(run int) []byte {
	all := make([]byte, 0, w.runs[run].n*hashEntryLen)
	for i := range w.runs[run].firsts {
		all = append(all, w.piece(run, i).entries...)
	}
	return all
}

func (w *hashWriter) fail(err error) { w.err = cmp.Or(w.err, err) }

// mergeRows merges two sorted sequences of entries.
func mergeRows(a, b []byte) []byte {
	all := make([]byte, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		x, y := parseHashEntry(a), parseHashEntry(b)
		if x.hash < y.hash || x.hash == y.hash && x.where <= y.where {
			all, a = append(all, a[:hashEntryLen]...), a[hashEntryLen:]
		} else {
			all, b = append(all, b[:hashEntryLen]...), b[hashEntryLen:]
		}
	}
	return append(append(all, a...), b...)
}

// loadHashRun adds a row of the bucket hashes to the runs. Rows must be loaded in the order of their keys.
func loadHashRun(runs []*hashRun, num, piece uint32, row []byte) ([]*hashRun, error) {
	p, err := parsePiece(row)
	if err != nil {
		return nil, err
	}
	if piece == 0 {
		runs = append(runs, &hashRun{num: num})
	}
	if len(runs) == 0 || runs[len(runs)-1].num != num || len(runs[len(runs)-1].firsts) != int(piece) {
		return nil, errRow
	}
	run := runs[len(runs)-1]
	run.n += len(p.entries) / hashEntryLen
	run.firsts = append(run.firsts, binary.BigEndian.Uint64(p.entries))
	return runs, nil
}

func parseHashEntry(b []byte) hashEntry {
	return hashEntry{binary.BigEndian.Uint64(b), where(binary.BigEndian.Uint64(b[8:]))}
}

func pieceKey(run uint32, piece int) []byte {
	return binary.BigEndian.AppendUint32(u32Key(run), uint32(piece))
}
