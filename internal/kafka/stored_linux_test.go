package kafka

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/meta"
	"tidings.dev/internal/pipe"
	"tidings.dev/internal/vfs"
)

// watched says what becomes of the files of a disk: how many are open, how much of them the kernel has sent. It can break
// the sending.
type watched struct {
	open      atomic.Int64
	sentBytes atomic.Int64
	broken    atomic.Bool
}

type watchedFile struct {
	vfs.File
	watched *watched
}

var errBroken = errors.New("broken")

func (w *watched) files(disk vfs.FS) vfs.FS {
	return vfs.Wrap(disk, func(f vfs.File) vfs.File {
		w.open.Add(1)
		return &watchedFile{f, w}
	})
}

func (f *watchedFile) Close() error {
	f.watched.open.Add(-1)
	return f.File.Close()
}

func (f *watchedFile) Cached(sizeBytes int, off int64) bool {
	return f.File.(vfs.Sender).Cached(sizeBytes, off)
}

func (f *watchedFile) SendTo(to *net.TCPConn, sizeBytes int, off int64) (int, error) {
	if f.watched.broken.Load() {
		n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes/2, off)
		return n, errors.Join(err, errBroken)
	}
	n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes, off)
	f.watched.sentBytes.Add(int64(n))
	return n, err
}

// shelf is a house on a real disk with two partitions of history, none of it in memory.
type shelf struct {
	*house
	watched
	topic  meta.Topic
	stored [2][]byte // what each partition holds
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	disk, err := vfs.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.(io.Closer).Close() })
	s := new(shelf)
	if !canTellCached(t, disk) {
		t.Skip("the kernel does not say what the page cache has: Linux before 6.5, or forbidden")
	}

	before := openHouse(t, s.files(disk))
	s.topic = before.topic("orders", int32(len(s.stored)))
	w := before.dial()
	noise := rand.NewChaCha8([32]byte{7})
	for i := range 80 {
		value := make([]byte, 1000+i*500)
		noise.Read(value)
		p := i % len(s.stored)
		b := records(string(value))
		resp := ask[*kmsg.ProduceResponse](w, produceTo(s.topic, int32(p), bytes.Clone(b)), 9)
		batch.View(b).SetBaseOffset(resp.Topics[0].Partitions[0].BaseOffset)
		batch.View(b).SetLeaderEpoch(0)
		s.stored[p] = append(s.stored[p], b...)
	}
	before.close()
	s.house = openHouse(t, s.files(disk))
	return s
}

// end closes the house: no file stays open for an answer that was sent, or wasn't.
func (s *shelf) end() {
	s.t.Helper()
	s.close()
	if n := s.open.Load(); n != 0 {
		s.t.Errorf("%d files are open after the end", n)
	}
}

// canTellCached says whether what was just written is known to be in the page cache.
func canTellCached(t *testing.T, disk vfs.FS) bool {
	t.Helper()
	f, err := disk.Create("probe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove("probe"); err != nil {
		t.Fatal(err)
	}
	return f.(vfs.Sender).Cached(1, 0)
}

// replay fetches everything, both partitions at once, compares, and says how many bytes of it the kernel has sent: not all,
// since what was just read ahead for others is still in memory.
func (s *shelf) replay(w *wire, version int16) int64 {
	s.t.Helper()
	before := s.sentBytes.Load()
	var offsets [len(s.stored)]int64
	var at [len(s.stored)]int
	for at[0] < len(s.stored[0]) || at[1] < len(s.stored[1]) {
		req := fetchFrom(s.topic, 0, offsets[0], time.Second)
		p := req.Topics[0].Partitions[0]
		p.Partition, p.FetchOffset = 1, offsets[1]
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = 200_000
		}
		resp := ask[*kmsg.FetchResponse](w, req, version)
		for i, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != none || !bytes.HasPrefix(s.stored[i][at[i]:], p.RecordBatches) {
				s.t.Fatalf("v%d, partition %d at %d: code %d, %d bytes that are not those stored", version, i, offsets[i], p.ErrorCode, len(p.RecordBatches))
			}
			at[i] += len(p.RecordBatches)
			for v, err := range batch.Split(p.RecordBatches) {
				if err != nil {
					s.t.Fatal(err)
				}
				offsets[i] = v.NextOffset()
			}
		}
	}
	return s.sentBytes.Load() - before
}

// History that was checked is sent from its files, over TCP in every version; the bytes are the same.
func TestHistoryIsSentFromItsFiles(t *testing.T) {
	s := newShelf(t)
	w := s.dial()
	s.replay(w, 12)
	s.replay(w, 12)
	for version := lookup(keyFetch).min; version <= lookup(keyFetch).max; version++ {
		if sent := s.replay(w, version); sent == 0 {
			t.Errorf("v%d: nothing came from files", version)
		}
	}

	// Case: a real client.
	before := s.sentBytes.Load()
	client := s.client(kgo.ConsumeTopics(s.topic.Name))
	for got := 0; got < 80; {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		fetches := client.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		got += fetches.NumRecords()
	}
	if s.sentBytes.Load() == before {
		t.Error("a client was sent nothing from files")
	}

	// Case: a connection that is not TCP gets it from memory.
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	go s.server.ServeConn(context.Background(), theirs)
	defer mine.Close()
	if sent := s.replay(&wire{t: t, net: mine}, 12); sent != 0 {
		t.Errorf("%d bytes were sent from files to a pipe", sent)
	}
	s.end()
}

// A file that fails in the middle of being sent ends the connection: the client can't take what it has for an answer.
// Another connection gets all of it once the file is well.
func TestFileFailsWhileItIsSent(t *testing.T) {
	s := newShelf(t)
	w := s.dial()
	s.replay(w, 12)
	s.replay(w, 12)
	s.broken.Store(true)
	w.send(versioned(fetchFrom(s.topic, 0, 0, time.Second), 12))
	w.closedByServer()
	s.broken.Store(false)
	if sent := s.replay(s.dial(), 12); sent == 0 {
		t.Error("nothing came from files")
	}
	s.end()
}

// versioned is a request at a version.
func versioned(req *kmsg.FetchRequest, version int16) *kmsg.FetchRequest {
	req.SetVersion(version)
	return req
}
