package story

import (
	"bytes"
	"errors"
	"fmt"
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
	"tidings.dev/internal/obligation"
)

// ErrInUse is matched when another process has the index file open.
var ErrInUse = errors.New("story: the index is in use by another process")

// ErrDamaged is matched when the index file cannot be read. The next OpenIndex puts it aside and begins anew.
var ErrDamaged = errors.New("story: the index file is damaged")

// Index is a file that knows the events of a log and what is owed to them. One process at a time has it open. Its
// methods may be called from any goroutine; queries see whole batches of records.
//
// The file is a cache: its writes are not synced one by one. A process that is killed loses nothing of it, and after a
// power cut it is built again from the log.
type Index struct {
	path string
	log  *slog.Logger

	mu     sync.RWMutex
	db     *bolt.DB
	failed error // set when memory may differ from the file: nothing more can be added
	judge  *judge

	names     map[string]nameNum
	nameOf    []string // by number; 0 is the empty name
	topics    map[string]topicNum
	topicOf   map[topicNum]*topicRow
	positions map[partition]int64
	stats     Stats

	stories map[storyNum]*storyRow // a cache
	known   map[string]storyNum    // a cache: by correlation

	news chan struct{} // closed when a batch was added
}

// topicRow is a topic by its number.
type topicRow struct {
	name string
	id   [16]byte // zero: not known yet
	gone bool     // deleted, or replaced by another of its name
}

// Stats counts what an index has. Copies of an event count once.
type Stats struct {
	Events  int64 `json:"events"`
	Stories int64 `json:"stories"` // all of them
	Settled int64 `json:"settled"` // tidings.story says so, and it still holds
	Open    int64 `json:"open"`    // have an event that tidings emitted, and are not settled
}

// The buckets of the file.
var (
	bucketMeta        = []byte("meta")        // format, boot, cluster, stats
	bucketNames       = []byte("names")       // number u32 → name
	bucketTopics      = []byte("topics")      // topic u32 → gone u8, id [16], name
	bucketPositions   = []byte("positions")   // partition → next offset u64
	bucketEvents      = []byte("events")      // place → eventRow
	bucketIDs         = []byte("ids")         // hash of an event id → places
	bucketStories     = []byte("stories")     // story u64 → storyRow
	bucketStoryEvents = []byte("storyevents") // story event → place
	bucketFind        = []byte("find")        // what u8, word, 0, story u64 → nothing
	bucketListeners   = []byte("listeners")   // listener u32 → topic, reaction, key, subscription
	bucketCoverage    = []byte("coverage")    // listener u32, partition u32 → coverage
	bucketNotes       = []byte("notes")       // listener u32, partition u32, offset u64 → note
	bucketTimes       = []byte("times")       // listener u32, partition u32, offset/256 u64, order u64 → times
	bucketDue         = []byte("due")         // story u64 → nothing: tidings.story does not say how it stands

	buckets = [][]byte{bucketMeta, bucketNames, bucketTopics, bucketPositions, bucketEvents, bucketIDs, bucketStories,
		bucketStoryEvents, bucketFind, bucketListeners, bucketCoverage, bucketNotes, bucketTimes, bucketDue}
)

var (
	keyFormat  = []byte("format")
	keyBoot    = []byte("boot")
	keyCluster = []byte("cluster")
	keyStats   = []byte("stats")
)

// format is that of the file. A file of another one is built again.
const format = "tidings story 1"

// closedCleanly stands in place of the boot id in a file that was synced and closed.
const closedCleanly = "clean"

// OpenIndex opens the index at path or makes a new one. A file that is damaged, of another format, or perhaps torn by a
// power cut is put aside as path+".aside", with a warning in the log. A nil logger is slog.Default(). An error matches
// ErrInUse, or comes from the operating system.
func OpenIndex(path string, log *slog.Logger) (*Index, error) {
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

// open opens the file and reads what is kept in memory.
func (ix *Index) open() (err error) {
	if err := checkSize(ix.path); err != nil {
		return err
	}
	// bbolt panics on some kinds of damage.
	defer func() {
		if p := recover(); p != nil {
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
	boot := bootID()
	ix.db.NoSync = boot != ""
	return ix.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta != nil {
			if f := meta.Get(keyFormat); string(f) != format {
				return fmt.Errorf("%w: its format is %q, not %q", ErrDamaged, f, format)
			}
			if b := string(meta.Get(keyBoot)); b != closedCleanly && b != boot {
				return fmt.Errorf("%w: it was not closed before the machine went down", ErrDamaged)
			}
		} else if k, _ := tx.Cursor().First(); k != nil {
			return fmt.Errorf("%w: it holds something else", ErrDamaged)
		}
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		meta = tx.Bucket(bucketMeta)
		if err := errors.Join(meta.Put(keyFormat, []byte(format)), meta.Put(keyBoot, []byte(boot))); err != nil {
			return err
		}
		return ix.load(tx)
	})
}

// load reads into memory what is kept there.
func (ix *Index) load(tx *bolt.Tx) error {
	ix.failed = nil
	ix.judge = newJudge()
	ix.names, ix.nameOf = map[string]nameNum{"": 0}, []string{""}
	ix.topics, ix.topicOf = make(map[string]topicNum), make(map[topicNum]*topicRow)
	ix.positions = make(map[partition]int64)
	ix.stories, ix.known = make(map[storyNum]*storyRow), make(map[string]storyNum)
	ix.news = make(chan struct{})
	ix.stats = Stats{}
	if b := tx.Bucket(bucketMeta).Get(keyStats); b != nil {
		r := reader{b: b}
		ix.stats = Stats{int64(r.uint()), int64(r.uint()), int64(r.uint()), int64(r.uint())}
		if r.bad {
			return fmt.Errorf("%w: %w", ErrDamaged, errRow)
		}
	}
	each := func(bucket []byte, f func(k *key, v []byte) error) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			kr := &key{b: k}
			err := f(kr, v)
			if err == nil && kr.bad {
				err = errRow
			}
			if err != nil {
				return fmt.Errorf("%w: bucket %s: %w", ErrDamaged, bucket, err)
			}
			return nil
		})
	}
	byNum := make(map[uint32]*listener)
	return errors.Join(
		each(bucketNames, func(k *key, v []byte) error {
			if int(k.u32()) != len(ix.nameOf) {
				return errRow
			}
			ix.names[string(v)] = nameNum(len(ix.nameOf))
			ix.nameOf = append(ix.nameOf, string(v))
			return nil
		}),
		each(bucketTopics, func(k *key, v []byte) error {
			if len(v) < 17 {
				return errRow
			}
			t := &topicRow{name: string(v[17:]), id: [16]byte(v[1:17]), gone: v[0] != 0}
			n := topicNum(k.u32())
			ix.topicOf[n] = t
			if !t.gone {
				ix.topics[t.name] = n
			}
			return nil
		}),
		each(bucketPositions, func(k *key, v []byte) error {
			vr := &key{b: v}
			ix.positions[partition{topicNum(k.u32()), int32(k.u32())}] = int64(vr.u64())
			k.bad = k.bad || vr.bad
			return nil
		}),
		each(bucketListeners, func(k *key, v []byte) error {
			num := k.u32()
			r := reader{b: v}
			li := &listener{num: num, topic: topicNum(r.uint()), reaction: r.string(), key: r.string(), covers: make(map[int32]*coverage)}
			raw := r.bytes()
			if r.bad {
				return errRow
			}
			if len(raw) > 0 {
				f, err := obligation.Decode(raw)
				sub, ok := f.(*obligation.Subscription)
				if err != nil || !ok {
					return errRow
				}
				types := make([]nameNum, len(sub.Types))
				for i, t := range sub.Types {
					types[i] = ix.names[t]
				}
				li.set(sub, types)
			}
			byNum[num] = li
			ix.judge.listeners[li.key] = li
			ix.judge.byTopic[li.topic] = append(ix.judge.byTopic[li.topic], li)
			return nil
		}),
		each(bucketCoverage, func(k *key, v []byte) error {
			li, p := byNum[k.u32()], int32(k.u32())
			c, err := decodeCoverage(v)
			if err != nil || li == nil {
				return errRow
			}
			li.covers[p] = c
			return nil
		}),
		each(bucketDue, func(k *key, _ []byte) error {
			ix.judge.pending[storyNum(k.u64())] = struct{}{}
			return nil
		}),
	)
}

// Close syncs the file and closes it.
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
	ix.db, ix.failed = nil, errClosed
	return err
}

var errClosed = errors.New("story: the index is closed")

// bind makes the index that of a cluster: one that was of another cluster is emptied.
func (ix *Index) bind(cluster string) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return ix.failed
	}
	return ix.db.Update(func(tx *bolt.Tx) error {
		old := tx.Bucket(bucketMeta).Get(keyCluster)
		if old != nil && string(old) != cluster {
			ix.log.Warn("story index was of another cluster and is built again", "path", ix.path, "was", string(old), "is", cluster)
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
			if err := tx.Bucket(bucketMeta).Delete(keyStats); err != nil {
				return err
			}
			if err := ix.load(tx); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyCluster, []byte(cluster))
	})
}

// Stats counts what the index has.
func (ix *Index) Stats() Stats {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.stats
}

// Reactions gives the names of all reactions that listen, sorted.
func (ix *Index) Reactions() []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	names := make(map[string]struct{})
	for _, li := range ix.judge.listeners {
		if li.active() {
			names[li.reaction] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// position gives the next offset that the index wants of a partition.
func (ix *Index) position(topic string, p int32) int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	n, ok := ix.topics[topic]
	if !ok {
		return 0
	}
	return ix.positions[partition{n, p}]
}

// changes gives a channel that is closed when the index next changes.
func (ix *Index) changes() <-chan struct{} {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.news
}

// bootID identifies this run of the operating system; empty where there is no such thing.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
