package story

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of an [Index], to be matched with errors.Is.
var (
	// ErrInUse is returned by OpenIndex when another process, or another Index of this process, has the file open.
	ErrInUse = errors.New("story: the index is in use by another process")
	// ErrDamaged is returned when the index file cannot be read, or a part of it. The next OpenIndex renames the file and
	// begins a new one, also if this process is killed before.
	ErrDamaged = errors.New("story: the index file is damaged")
	// ErrClosed is returned by methods that are called after Close.
	ErrClosed = errors.New("story: the index is closed")
)

// Index is a file that has all events of a log, indexed by correlation, subject, id and trace, and for each event
// what every reaction has done with it. [OpenIndex] opens an Index; the zero value cannot be used. Only one process
// at a time can have the file open. All methods may be called from any goroutine.
//
// The file is a cache: all of its content can be built again from the log. If the process is killed, the file keeps
// everything that was written. On Linux, writes are not synced: if the operating system crashes or the power is cut while
// the file is open, the next OpenIndex puts the file aside and begins a new one. On other systems each write is synced.
//
// # What the lock protects
//
// mu protects every field that is declared below it, and everything that is reached from these fields: the judge, the
// listeners, the rows of stories. A write transaction holds mu for writing from before it begins until it is
// committed. A query holds mu for reading, so that it sees memory and file at the same state. These invariants hold
// while mu is free and failed is nil:
//
//	memory and file agree; stories and byCorrelation are partial copies of their buckets, the other fields complete ones
//	names[nameOf[n]] == n
//	events at offsets at or above forgotten[p] of each partition p are in the index if they were read
//	topics[topicOf[n].name] == n for every topic n that is neither gone nor early; topicByID has every topic
//	positions[p] is the offset of the next record of p to add: the records before it are in the index or no longer in the log
//	judge.pending, frozen, incomplete and publishing together have every story in the bucket due
type Index struct {
	path    string
	log     *slog.Logger
	damaged sync.Once // its function runs when damage is found for the first time: see noteDamage

	mu     sync.RWMutex
	db     *bolt.DB // nil after Close
	failed error    // not nil: memory may differ from the file, and writes are refused with this error; ErrClosed after Close
	judge  *judge

	names     map[string]nameNum
	nameOf    []string // by nameNum; nameOf[0] is the empty name
	topics    map[string]topicNum
	topicOf   map[topicNum]*topicRow
	topicByID map[topicKey]topicNum

	lastListener uint32 // the highest listener.num that was given out
	positions    map[partition]int64
	forgotten    map[partition]int64 // offsets below which events were forgotten; see forget.go
	missed       map[partition]miss  // what was removed before the index had read it; see positions.go
	filling      uint64              // is raised when the index is filled anew
	tails        map[partition]*tail // has an entry for each partition of which a record was read
	stats        Stats
	seed         hashSeed
	runs         hashRuns // of the bucket hashes
	lastStory    storyNum
	goneStories  *storySet
	unswept      int64               // stories that were forgotten and had several subjects; see sweepSubjects
	goneGroups   map[storyNum]uint32 // of stories, how many of their first groups of records were removed since the file was opened

	// Caches of rows. A write transaction empties a cache that has more than maxCached entries at its end.
	stories       map[storyNum]*storyRow
	byCorrelation map[string]storyNum

	changed chan struct{} // closed and replaced by a new channel when a write transaction ends
}

// Stats are the counts of an [Index]. Copies of an event, which a handler that ran twice has emitted, count once. A
// story in which no event has an id counts in Stories only, so that Settled + Open <= Stories. What the index has
// forgotten since retention has removed it from the log ([Indexer.Forget]) does not count.
type Stats struct {
	Events  int64 `json:"events"`
	Stories int64 `json:"stories"`
	// Settled is the number of stories for which tidings.story has a story.settled that still holds.
	Settled int64 `json:"settled"`
	// Open is the number of the other stories that have an event with an id.
	Open int64 `json:"open"`
}

// encode returns the value of the key stats in the bucket meta.
func (s *Stats) encode() []byte {
	var w rowWriter
	for _, n := range []int64{s.Events, s.Stories, s.Settled, s.Open} {
		w.uint(uint64(n))
	}
	return w.b
}

// count adds n stories of a class.
func (s *Stats) count(c class, n int64) {
	switch c {
	case classOpen:
		s.Open += n
	case classSettled:
		s.Settled += n
	}
}

func decodeStats(b []byte) (Stats, error) {
	r := newRowReader(b)
	s := Stats{int64(r.Uvarint()), int64(r.Uvarint()), int64(r.Uvarint()), int64(r.Uvarint())}
	return s, r.Err()
}

// OpenIndex opens the index file at path. If there is none, it makes one, and the directories above it. If log is
// nil, it uses [slog.Default].
//
// If the file is damaged, has another format, or may be torn because the machine went down while it was open,
// OpenIndex renames it to path+".aside", logs a warning and makes a new file. If another process has the file open,
// OpenIndex waits for up to a second; after that it returns an error that matches [ErrInUse]. Other errors come from
// the operating system.
//
// Most programs call [Open], which opens the file and keeps it up to date.
func OpenIndex(path string, log *slog.Logger) (*Index, error) {
	if path == "" {
		return nil, errors.New("story: the path of the index file is empty")
	}
	if log == nil {
		log = slog.Default()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ix := &Index{path: path, log: log}
	err := ix.open()
	if errors.Is(err, ErrDamaged) {
		log.Warn("story index is put aside and built again from the log", "path", path, "why", err)
		if err := os.Remove(path + damagedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := os.Rename(path, path+".aside"); err != nil {
			return nil, err
		}
		err = ix.open()
	}
	if err != nil {
		return nil, err
	}
	return ix, nil
}

// open opens the file, checks it, and loads the parts that are kept in memory. Its error matches ErrDamaged if the
// file cannot be used and should be put aside. After an error the file is closed.
func (ix *Index) open() (err error) {
	if err := checkFileSize(ix.path); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil { // bbolt panics on some kinds of damage
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil && ix.db != nil {
			ix.db.Close()
			ix.db = nil
		}
	}()
	ix.db, err = bolt.Open(ix.path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s", ErrInUse, ix.path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	}
	// Without a boot id, OpenIndex cannot notice later that the machine went down. In that case bbolt syncs each
	// transaction.
	boot := bootID()
	ix.db.NoSync = boot != ""
	if found, err := os.ReadFile(ix.path + damagedSuffix); err == nil {
		return fmt.Errorf("%w: it was found when the file was last open: %s", ErrDamaged, found)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ix.db.Update(func(tx *bolt.Tx) error {
		if err := checkMeta(tx, boot); err != nil {
			return err
		}
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := errors.Join(meta.Put(keyFormat, []byte(formatName)), meta.Put(keyBoot, []byte(boot))); err != nil {
			return err
		}
		if meta.Get(keySeed) == nil {
			if err := meta.Put(keySeed, newHashSeed()); err != nil {
				return err
			}
		}
		return ix.load(tx)
	})
}

// damagedSuffix is what the name of an index file is extended by for the name of a file that says that the index is
// damaged. open reads only some of the index, so it would not find again what a query or a write has found.
const damagedSuffix = ".damaged"

// noteDamage makes sure that the next OpenIndex puts the file aside if err matches ErrDamaged. It does nothing for other
// errors and nil.
func (ix *Index) noteDamage(err error) {
	if !errors.Is(err, ErrDamaged) {
		return
	}
	ix.damaged.Do(func() {
		ix.log.Error("story index is damaged; it will be built again when it is opened next", "path", ix.path, "why", err)
		if err := os.WriteFile(ix.path+damagedSuffix, []byte(err.Error()), 0o600); err != nil {
			ix.log.Error("story index is damaged, and that cannot be recorded: remove the file", "path", ix.path, "why", err)
		}
	})
}

// checkMeta returns an error that matches ErrDamaged if the file is not an index of this format, or if it was open
// when the machine last went down. boot is the boot id of the running system. A file without any bucket is new and
// accepted.
func checkMeta(tx *bolt.Tx, boot string) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if k, _ := tx.Cursor().First(); k != nil {
			return fmt.Errorf("%w: it holds something else", ErrDamaged)
		}
		return nil
	}
	if f := meta.Get(keyFormat); string(f) != formatName {
		return fmt.Errorf("%w: its format is %q, not %q", ErrDamaged, f, formatName)
	}
	if b := string(meta.Get(keyBoot)); b != closedCleanly && b != boot {
		return fmt.Errorf("%w: it was not closed before the machine went down", ErrDamaged)
	}
	return nil
}

// bootID returns the id that the operating system has given to its present run, or "" if the system gives none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Close syncs and closes the file. It waits until the queries that are under way have returned. A second Close does
// nothing.
func (ix *Index) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.db == nil {
		return nil
	}
	var err error
	if ix.failed == nil {
		err = errors.Join(ix.db.Sync(), ix.db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keyBoot, []byte(closedCleanly))
		}), ix.db.Sync())
	}
	err = errors.Join(err, ix.db.Close())
	ix.db, ix.failed = nil, ErrClosed
	return err
}

// bindCluster records in the file that the index belongs to the cluster with the given id. If the file belonged to
// another cluster, bindCluster empties it and logs a warning. The indexer calls it before it applies the first
// record.
func (ix *Index) bindCluster(cluster string) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return ix.failed
	}
	another := false
	err := ix.db.Update(func(tx *bolt.Tx) error {
		old := tx.Bucket(bucketMeta).Get(keyCluster)
		if another = old != nil && string(old) != cluster; another {
			ix.log.Warn("story index was of another cluster and is built again", "path", ix.path, "was", string(old), "is", cluster)
			if err := emptyFile(tx); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyCluster, []byte(cluster))
	})
	if err == nil && another {
		err = ix.reload()
	}
	return err
}

// emptyFile deletes all rows of a file except the format, boot id, cluster id and seed in the bucket meta.
func emptyFile(tx *bolt.Tx) error {
	for _, b := range buckets {
		if bytes.Equal(b, bucketMeta) {
			continue
		}
		if err := tx.DeleteBucket(b); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(b); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(meta.Delete(keyStats), meta.Delete(keyLastStory), meta.Delete(keyForgotten), meta.Delete(keyStale))
}

// reload loads the file into memory again, after a transaction that has changed the file alone was committed. If the
// file cannot be read, reload sets ix.failed and returns it. Waiters on ix.changed wake up in either case. ix.mu must
// be held.
func (ix *Index) reload() error {
	waiting := ix.changed
	if err := ix.db.View(ix.load); err != nil {
		ix.failed = fmt.Errorf("story: index %s: %w", ix.path, err)
		ix.noteDamage(err)
	}
	close(waiting)
	return ix.failed
}

// Stats returns the counts as of the last write. It does not ask the log.
func (ix *Index) Stats() Stats {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.stats
}

// Reactions returns the sorted names of all reactions that have a subscription and are not retired. The caller owns
// the slice.
func (ix *Index) Reactions() []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	names := make(map[string]struct{})
	for _, of := range ix.judge.listeners {
		for _, li := range of {
			if li.active() && !ix.topicOf[li.topic].gone {
				names[li.reaction] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// err returns why the index takes no more records, or nil if it still takes them.
func (ix *Index) err() error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.failed
}

// changes returns a channel that is closed when the next write transaction ends. A goroutine that waits for a
// condition must call changes first and check the condition afterwards, or it may miss the change.
func (ix *Index) changes() <-chan struct{} {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.changed
}
