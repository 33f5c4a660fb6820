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

// fileCounts counts the open files of a file system and the bytes that the kernel has sent from them by sendfile. If
// broken is set, sending fails.
type fileCounts struct {
	open      atomic.Int64
	sentBytes atomic.Int64
	broken    atomic.Bool
}

// countedFile is a file that is included in fileCounts.
type countedFile struct {
	vfs.File
	counts *fileCounts
}

// errBroken is the error of sending when fileCounts.broken is set.
var errBroken = errors.New("broken")

// files returns disk with its files counted in w.
func (w *fileCounts) files(disk vfs.FS) vfs.FS {
	return vfs.Wrap(disk, func(f vfs.File) vfs.File {
		w.open.Add(1)
		return &countedFile{f, w}
	})
}

func (f *countedFile) Close() error {
	f.counts.open.Add(-1)
	return f.File.Close()
}

func (f *countedFile) Cached(sizeBytes int, off int64) bool {
	return f.File.(vfs.Sender).Cached(sizeBytes, off)
}

func (f *countedFile) SendTo(to *net.TCPConn, sizeBytes int, off int64) (int, error) {
	if f.counts.broken.Load() {
		n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes/2, off)
		return n, errors.Join(err, errBroken)
	}
	n, err := f.File.(vfs.Sender).SendTo(to, sizeBytes, off)
	f.counts.sentBytes.Add(int64(n))
	return n, err
}

// historyServer is a server on a real disk with one topic. None of the topic's batches is in the memory of the broker.
type historyServer struct {
	*testServer
	fileCounts
	topic  meta.Topic
	stored [2][]byte // the batches of each of the two partitions
}

// newHistoryServer stores batches in both partitions, and starts a server anew on their files. It skips the test if the
// platform cannot tell what is in the page cache.
func newHistoryServer(t *testing.T) *historyServer {
	t.Helper()
	disk, err := vfs.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.(io.Closer).Close() })
	s := new(historyServer)
	if !pageCacheIsKnown(t, disk) {
		t.Skip("the kernel does not say what the page cache has: Linux before 6.5, or forbidden")
	}

	before := openTestServer(t, s.files(disk))
	s.topic = before.topic("orders", int32(len(s.stored)))
	w := before.dial()
	noise := rand.NewChaCha8([32]byte{7})
	for i := range 80 {
		value := make([]byte, 1000+i*500)
		noise.Read(value)
		p := i % len(s.stored)
		b := records(string(value))
		resp := roundTrip[*kmsg.ProduceResponse](w, produceTo(s.topic, int32(p), bytes.Clone(b)), 9)
		batch.View(b).SetBaseOffset(resp.Topics[0].Partitions[0].BaseOffset)
		batch.View(b).SetLeaderEpoch(0)
		s.stored[p] = append(s.stored[p], b...)
	}
	before.close()
	s.testServer = openTestServer(t, s.files(disk))
	return s
}

// closeAndCheckFiles closes the server, and fails the test if a file is still open.
func (s *historyServer) closeAndCheckFiles() {
	s.t.Helper()
	s.close()
	if n := s.open.Load(); n != 0 {
		s.t.Errorf("%d files are open after the end", n)
	}
}

// pageCacheIsKnown reports whether the platform can tell that bytes just written to a file are in the page cache.
func pageCacheIsKnown(t *testing.T, disk vfs.FS) bool {
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

// replay fetches both partitions together from beginning to end, and compares the batches with those that were stored.
// It returns the number of bytes that the kernel has sent by sendfile, which may be less than all, because batches that
// were read ahead for earlier fetches are still in memory.
func (s *historyServer) replay(w *rawClient, version int16) int64 {
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
		resp := roundTrip[*kmsg.FetchResponse](w, req, version)
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

// TestHistoryIsSentFromItsFiles checks, in every version of Fetch, that over TCP the broker sends batches from their
// files once their checksums were checked, and that the bytes are the stored ones.
func TestHistoryIsSentFromItsFiles(t *testing.T) {
	s := newHistoryServer(t)
	w := s.dial()
	s.replay(w, 12)
	s.replay(w, 12)
	for version := lookupAPI(keyFetch).min; version <= lookupAPI(keyFetch).max; version++ {
		if sent := s.replay(w, version); sent == 0 {
			t.Errorf("v%d: nothing came from files", version)
		}
	}

	// Case: a kgo client.
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

	// Case: on a connection that is not TCP, the batches are sent from memory.
	mine, theirs := pipe.New(0, pipe.Addr("client"), pipe.Addr("server"))
	go s.server.ServeConn(context.Background(), theirs)
	defer mine.Close()
	if sent := s.replay(&rawClient{t: t, net: mine}, 12); sent != 0 {
		t.Errorf("%d bytes were sent from files to a pipe", sent)
	}
	s.closeAndCheckFiles()
}

// TestFileFailsWhileItIsSent makes sendfile fail in the middle of a response. The broker must close that connection, so
// that the client does not take the part for a whole response. When the file can be read again, another connection must
// get everything.
func TestFileFailsWhileItIsSent(t *testing.T) {
	s := newHistoryServer(t)
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
	s.closeAndCheckFiles()
}

// versioned sets the version of req and returns it.
func versioned(req *kmsg.FetchRequest, version int16) *kmsg.FetchRequest {
	req.SetVersion(version)
	return req
}
