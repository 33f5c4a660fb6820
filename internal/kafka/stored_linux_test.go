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

// sendingFS counts what is sent from its files by the kernel, and can break that.
type sendingFS struct {
	vfs.FS
	sentBytes atomic.Int64
	broken    atomic.Bool
}

type sendingFile struct {
	vfs.File
	fs *sendingFS
}

var errBroken = errors.New("broken")

func (s *sendingFS) sending(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &sendingFile{f, s}, nil
}

func (s *sendingFS) Create(name string) (vfs.File, error) { return s.sending(s.FS.Create(name)) }
func (s *sendingFS) Open(name string) (vfs.File, error)   { return s.sending(s.FS.Open(name)) }

func (f *sendingFile) Cached(sizeBytes int, off int64) bool {
	return f.File.(vfs.Sender).Cached(sizeBytes, off)
}

func (f *sendingFile) SendTo(to *net.TCPConn, sizeBytes int, off int64) (int, error) {
	if f.fs.broken.Load() {
		n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes/2, off)
		return n, errors.Join(err, errBroken)
	}
	n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes, off)
	f.fs.sentBytes.Add(int64(n))
	return n, err
}

// shelf is a house on a real disk with two partitions of history, none of it in memory.
type shelf struct {
	*house
	fs     *sendingFS
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
	s := &shelf{fs: &sendingFS{FS: disk}}
	if !canTellCached(t, disk) {
		t.Skip("the kernel does not say what the page cache has: Linux before 6.5, or forbidden")
	}

	before := openHouse(t, s.fs)
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
	s.house = openHouse(t, s.fs)
	return s
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
	before := s.fs.sentBytes.Load()
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
	return s.fs.sentBytes.Load() - before
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
	before := s.fs.sentBytes.Load()
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
	if s.fs.sentBytes.Load() == before {
		t.Error("a client was sent nothing from files")
	}

	// Case: a connection that is not TCP gets it from memory.
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	go s.server.ServeConn(context.Background(), theirs)
	defer mine.Close()
	if sent := s.replay(&wire{t: t, net: mine}, 12); sent != 0 {
		t.Errorf("%d bytes were sent from files to a pipe", sent)
	}
}

// A file that fails in the middle of being sent ends the connection: the client can't take what it has for an answer.
// Another connection gets all of it once the file is well.
func TestFileFailsWhileItIsSent(t *testing.T) {
	s := newShelf(t)
	w := s.dial()
	s.replay(w, 12)
	s.replay(w, 12)
	s.fs.broken.Store(true)
	w.send(versioned(fetchFrom(s.topic, 0, 0, time.Second), 12))
	w.closedByServer()
	s.fs.broken.Store(false)
	if sent := s.replay(s.dial(), 12); sent == 0 {
		t.Error("nothing came from files")
	}
}

// versioned is a request at a version.
func versioned(req *kmsg.FetchRequest, version int16) *kmsg.FetchRequest {
	req.SetVersion(version)
	return req
}
