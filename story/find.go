package story

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrNotFound is matched when no event is known by the words of a question.
var ErrNotFound = errors.New("story: not found")

// Ref is a story that was found.
type Ref struct {
	Correlation string    `json:"correlation"`
	Root        string    `json:"root"`
	By          string    `json:"by"` // by what it was found: correlation, event, subject, trace
	Word        string    `json:"word"`
	Events      int       `json:"events"`
	Standing    Standing  `json:"standing"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`

	num storyNum
}

// Find gives the stories that a word leads to: a correlation id, an event id, a subject or record key, a trace id, or
// else the beginning of a subject. The newest come first; at most limit of them, of 100 when limit is 0. Nothing found
// is no error.
func (ix *Index) Find(word string, limit int) ([]Ref, error) {
	if limit <= 0 {
		limit = 100
	}
	var refs []Ref
	err := ix.view(func(v *view) error {
		refs, _ = v.find(word, limit, true)
		return v.err
	})
	return refs, err
}

// view is one read transaction.
type view struct {
	ix  *Index
	tx  *bolt.Tx
	err error
}

func (ix *Index) view(do func(*view) error) (err error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.db == nil {
		return errClosed
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return ix.db.View(func(tx *bolt.Tx) error { return do(&view{ix: ix, tx: tx}) })
}

func (v *view) fail(err error) {
	if v.err == nil {
		v.err = err
	}
}

// find gives the stories of a word, and how many more there are.
func (v *view) find(word string, limit int, prefixes bool) ([]Ref, int) {
	if word == "" {
		return nil, 0
	}
	if nums, _ := v.numbers(findKey(findCorrelation, word), 1); len(nums) > 0 {
		return v.refs(nums, "correlation", word), 0
	}
	for _, at := range v.placesOf(word) {
		if row, ok := v.event(at); ok {
			return v.refs([]storyNum{row.story}, "event", word), 0
		}
	}
	if nums, more := v.numbers(findKey(findSubject, word), limit); len(nums) > 0 {
		return v.refs(nums, "subject", word), more
	}
	if nums, more := v.numbers(findKey(findTrace, word), limit); len(nums) > 0 {
		return v.refs(nums, "trace", word), more
	}
	if !prefixes {
		return nil, 0
	}
	k := findKey(findSubject, word)
	nums, more := v.numbers(k[:len(k)-1], limit)
	return v.refs(nums, "subject", word), more
}

// placesOf gives where an event id is found; a foreign one is a place by itself.
func (v *view) placesOf(id string) []place {
	h := hashID(id)
	var places []place
	for _, at := range decodePlaces(v.tx.Bucket(bucketIDs).Get(h[:])) {
		if row, ok := v.event(at); ok && row.id == id {
			places = append(places, at)
		}
	}
	if len(places) > 0 {
		return places
	}
	parts := strings.Split(id, "/")
	if len(parts) != 3 {
		return nil
	}
	p, err1 := strconv.ParseInt(parts[1], 10, 32)
	o, err2 := strconv.ParseInt(parts[2], 10, 64)
	n, ok := v.ix.topics[parts[0]]
	if err1 != nil || err2 != nil || !ok {
		return nil
	}
	return []place{{partition{n, int32(p)}, o}}
}

func (v *view) event(at place) (eventRow, bool) {
	b := v.tx.Bucket(bucketEvents).Get(placeKey(at))
	if b == nil {
		return eventRow{}, false
	}
	row, err := decodeEvent(b)
	if err != nil {
		v.fail(err)
	}
	return row, err == nil
}

// numbers gives the newest stories under the keys with a prefix, newest first, and how many are left out. Of a key
// that ends in 0 only the word itself counts; another is the beginning of words.
func (v *view) numbers(prefix []byte, limit int) (nums []storyNum, left int) {
	whole := prefix[len(prefix)-1] == 0
	seen := make(map[storyNum]struct{})
	c := v.tx.Bucket(bucketFind).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if len(k) < len(prefix)+8 || whole && len(k) != len(prefix)+8 {
			continue
		}
		n := storyNum(binary.BigEndian.Uint64(k[len(k)-8:]))
		if _, ok := seen[n]; !ok {
			seen[n] = struct{}{}
			nums = append(nums, n)
		}
	}
	slices.Sort(nums)
	slices.Reverse(nums)
	if len(nums) > limit {
		return nums[:limit], len(nums) - limit
	}
	return nums, 0
}

func (v *view) story(n storyNum) *storyRow {
	s, err := decodeStory(v.tx.Bucket(bucketStories).Get(u64Key(uint64(n))))
	if err != nil {
		v.fail(err)
	}
	return s
}

func (v *view) refs(nums []storyNum, by, word string) []Ref {
	refs := make([]Ref, 0, len(nums))
	for _, n := range nums {
		s := v.story(n)
		refs = append(refs, Ref{Correlation: s.correlation, Root: s.root, By: by, Word: word, Events: s.events,
			Standing: s.says(), First: s.first, Last: s.last, num: n})
	}
	return refs
}

// says gives where a story stands by its row alone.
func (s *storyRow) says() Standing {
	switch {
	case s.open > 0:
		return StandingOpen
	case s.settled && s.fresh:
		return StandingSettled
	default:
		return StandingQuiet
	}
}
