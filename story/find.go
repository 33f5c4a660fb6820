package story

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"tidings.dev/internal/cloudevent"
)

// ErrNotFound is returned when no story belongs to the key that was asked for.
var ErrNotFound = errors.New("story: not found")

// errEmptyKey is returned when the key that was asked for is empty.
var errEmptyKey = errors.New("story: the key is empty: ask by a correlation id, an event id, a subject, a record key or a trace id")

// Ref describes a story that a key leads to.
type Ref struct {
	Correlation string `json:"correlation"`
	// Root is the id of the root event of the story, or of the event that was read first if the root was not read
	// yet.
	Root string `json:"root"`
	// Subject is the subject of the event that was read first. It is empty if that event has none.
	Subject string `json:"subject,omitempty"`
	// By is the kind of key that led to the story: "correlation", "event", "subject" (also for a record key or a part
	// of a subject) or "trace".
	By string `json:"by"`
	// Word is the key that was asked for.
	Word string `json:"word"`
	// Events is the number of events that the index has. Copies of an event count once.
	Events int `json:"events"`
	// Standing is the standing of the story as far as the index knows it. It ignores what only the brokers know, such
	// as events lost to retention.
	Standing Standing `json:"standing"`
	// First and Last are the times of the earliest and the latest event.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`

	num  storyNum
	gone int // records that were forgotten
}

// Find returns the stories that a key leads to. It tries the key as each of the following, in this order, until it
// finds a story:
//
//   - a correlation id, or an event id; if events of several sources or types share the id, all their stories are returned
//   - a subject, or a record key: order/536365
//   - a trace id
//   - the part of a subject after its first slash: 536365, for all subjects that end in /536365
//   - the beginning of a subject: order/5363
//   - the beginning of the part of a subject after its first slash: 5363
//
// Find returns at most limit stories, the newest first, except that the story whose correlation id is the key comes
// first; a limit of 0 or less means 100. If no story is found, the result is empty and the error is nil. Find returns
// an error if the key is empty, [ErrClosed] after Close, and an error that matches [ErrDamaged] if the file cannot be
// read.
func (ix *Index) Find(key string, limit int) ([]Ref, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	if limit <= 0 {
		limit = 100
	}
	var refs []Ref
	err := ix.read(func(tx *readTx) error {
		refs = tx.find(key).refs
		refs = refs[:min(limit, len(refs))]
		return tx.err
	})
	return refs, err
}

// found is the stories that a key leads to.
type found struct {
	refs []Ref // newest first
	// subjects are the subjects that are equal to the key or contain it, if the key was found as a subject.
	subjects []string
}

// maxKinds bounds the search for kinds of subjects (subjectKinds): it is the maximum number of kinds that are found
// and of subjects without a slash that are passed, taken together.
const maxKinds = 1 << 16

// find returns the stories of a key, by the rules of Index.Find, without a limit.
func (tx *readTx) find(key string) found {
	key = cloudevent.BoundName(key) // the index has long names in their short form
	if refs := tx.storiesOfID(key); len(refs) > 0 {
		return found{refs: refs}
	}
	if f := tx.storiesOfSubjects(key, subjectKey(key)); len(f.refs) > 0 {
		return f
	}
	if nums := tx.storiesOfTrace(key); len(nums) > 0 {
		return found{refs: tx.refs(nums, "trace", key)}
	}
	kinds := tx.subjectKinds()
	whole, begun := make([][]byte, len(kinds)), make([][]byte, len(kinds))
	for i, kind := range kinds {
		whole[i] = subjectKey(kind + key)
		begun[i] = whole[i][:len(whole[i])-1]
	}
	if f := tx.storiesOfSubjects(key, whole...); len(f.refs) > 0 {
		return f
	}
	k := subjectKey(key)
	if f := tx.storiesOfSubjects(key, k[:len(k)-1]); len(f.refs) > 0 {
		return f
	}
	return tx.storiesOfSubjects(key, begun...)
}

// storiesOfSubjects returns the stories whose subjects have one of the given prefixes in the bucket subjects. key is
// recorded in the result as the key that was asked for.
func (tx *readTx) storiesOfSubjects(key string, prefixes ...[]byte) found {
	nums, subjects := tx.storiesUnder(prefixes...)
	return found{tx.refs(nums, "subject", key), subjects}
}

// subjectKinds returns the kinds of subjects, ascending: the beginnings of subjects up to and including the first
// slash. It seeks from kind to kind, without reading every subject.
func (tx *readTx) subjectKinds() (kinds []string) {
	c := tx.bolt.Bucket(bucketSubjects).Cursor()
	k, _ := c.First()
	for range maxKinds {
		if len(k) < 1+storyLen {
			break
		}
		kind, _, ok := bytes.Cut(k[:len(k)-1-storyLen], []byte("/"))
		if !ok {
			k, _ = c.Next()
			continue
		}
		kinds = append(kinds, string(kind)+"/")
		k, _ = c.Seek(append(slices.Clip(kind), '/'+1))
	}
	return kinds
}

// storiesOfID returns the stories that have id as their correlation, followed by the stories that have an event with
// this id, the newest of the latter first.
func (tx *readTx) storiesOfID(id string) []Ref {
	var correlated []storyNum
	hash := tx.ix.seed.text(hashCorrelation, id)
	if n, ok := storyAt(tx.hashes.find(nil, hash, hash), id, tx.story); ok {
		correlated = append(correlated, n)
	}
	var nums []storyNum
	for _, at := range tx.locationsOf(id) {
		if row, ok := tx.event(at); ok && !slices.Contains(correlated, row.story) {
			nums = append(nums, row.story)
		}
	}
	slices.Sort(nums)
	nums = slices.Compact(nums)
	slices.Reverse(nums)
	return append(tx.refs(correlated, "correlation", id), tx.refs(nums, "event", id)...)
}

// storiesOfTrace returns the stories of which an event has a trace id, newest first.
func (tx *readTx) storiesOfTrace(id string) (nums []storyNum) {
	hash := tx.ix.seed.text(hashTrace, id)
	for _, w := range tx.hashes.find(nil, hash, hash) {
		nums = append(nums, w.story())
	}
	slices.Sort(nums)
	nums = slices.Compact(nums)
	slices.Reverse(nums)
	return nums
}

// storiesUnder returns the stories, newest first, whose keys in the bucket subjects begin with one of the prefixes. It
// also returns the terms of these keys, ascending for each prefix. A prefix that ends in a 0 byte selects one whole
// term; any other prefix selects all terms that begin with it.
func (tx *readTx) storiesUnder(prefixes ...[]byte) (nums []storyNum, terms []string) {
	c := tx.bolt.Bucket(bucketSubjects).Cursor()
	for _, prefix := range prefixes {
		whole := prefix[len(prefix)-1] == 0
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if len(k) < len(prefix)+storyLen || whole && len(k) != len(prefix)+storyLen {
				continue
			}
			n := storyNum(binary.BigEndian.Uint64(k[len(k)-storyLen:]))
			if tx.ix.goneStories.has(n) {
				continue
			}
			nums = append(nums, n)
			if term := k[:len(k)-1-storyLen]; len(terms) == 0 || terms[len(terms)-1] != string(term) {
				terms = append(terms, string(term))
			}
		}
	}
	slices.Sort(nums)
	nums = slices.Compact(nums)
	slices.Reverse(nums)
	return nums, terms
}

// refs returns the Refs of stories. by is how the key led to them.
func (tx *readTx) refs(nums []storyNum, by, key string) []Ref {
	refs := make([]Ref, 0, len(nums))
	for _, n := range nums {
		s := tx.story(n)
		refs = append(refs, Ref{Correlation: s.correlation, Root: s.root, Subject: s.subject, By: by, Word: key, Events: s.events,
			Standing: s.known(), First: s.first, Last: s.last, num: n, gone: int(s.gone)})
	}
	return refs
}
