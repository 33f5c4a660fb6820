package partition

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/vfs"
)

// pageCache is that of a disk. It has all of the files until they are evicted.
type pageCache struct {
	disk    vfs.FS
	evicted atomic.Bool
}

// sendingFile is a file that can be sent.
type sendingFile struct {
	vfs.File
	cache *pageCache
}

// files are those of the disk, and can be sent.
func (c *pageCache) files() vfs.FS {
	return vfs.Wrap(c.disk, func(f vfs.File) vfs.File { return &sendingFile{f, c} })
}

func (f *sendingFile) Cached(int, int64) bool { return !f.cache.evicted.Load() }

func (f *sendingFile) SendTo(to *net.TCPConn, sizeBytes int, off int64) (int, error) {
	n, err := io.Copy(to, io.NewSectionReader(f.File, off, int64(sizeBytes)))
	return int(n), err
}

// sendingAnything keeps files open of which the shortest run is sent.
func sendingAnything(limit int) *FileCache {
	f := NewFileCache(limit)
	f.minStoredBytes = 1
	return f
}

// readOrSend reads for who can send files, and returns what would be sent.
func readOrSend(l *Log, offset int64, maxBytes int) (pieces [][]byte, sent bool, err error) {
	pieces, stored, err := l.ReadStored(nil, offset, maxBytes)
	if stored.SizeBytes() == 0 {
		return pieces, false, err
	}
	open, ok := stored.Open()
	if !ok { // gone since: a client would ask again
		pieces, err = l.Read(nil, offset, maxBytes)
		return pieces, false, err
	}
	defer open.Close()
	piece := make([]byte, open.SizeBytes())
	if _, err := open.file.ReadAt(piece, open.position); err != nil {
		return nil, false, err
	}
	return [][]byte{piece}, true, nil
}

// replay reads all of a log as a consumer that files can be sent to, compares, and says how much was sent.
func replay(t *testing.T, l *Log, all *journal, maxBytes int) (sentBytes int) {
	t.Helper()
	for offset := l.Start(); offset < l.End(); {
		pieces, sent, err := readOrSend(l, offset, maxBytes)
		check(t, err)
		from := offset
		for _, piece := range pieces {
			for v, err := range batch.Split(piece) {
				check(t, err)
				if !bytes.Equal(v, all.holding(offset)) {
					t.Fatalf("another batch at %d", offset)
				}
				offset = v.NextOffset()
			}
			if sent {
				sentBytes += len(piece)
			}
		}
		if offset == from {
			t.Fatalf("nothing at %d", offset)
		}
	}
	return sentBytes
}

// storedHistory is a log in files that can be sent, none of it in memory, with little index.
func storedHistory(t *testing.T) (*pageCache, *Log, *journal, int) {
	t.Helper()
	cache := &pageCache{disk: vfs.NewMem()}
	l, err := Create(cache.files(), "p", Config{SegmentBytes: 20_000, IndexIntervalBytes: 500, Files: sendingAnything(20), ReadAhead: anyAhead(8000)})
	check(t, err)
	var all journal
	all.prepare(300)
	size := 0
	for _, v := range all.batches {
		l.Append(bytes.Clone(v))
		size += len(v)
	}
	check(t, l.Sync())
	l.EvictTail(0)
	return cache, l, &all, size
}

// What was read twice is sent from its file from then on: the first time it passed by the page cache, the second time what
// is there was checked. Only that, and only while it is there.
func TestStored(t *testing.T) {
	cache, l, all, size := storedHistory(t)
	if first := replay(t, l, all, 3000); first != 0 {
		t.Fatalf("%d bytes were sent that were not checked in the page cache", first)
	}
	if second := replay(t, l, all, 3000); second > size/2 {
		t.Fatalf("%d of %d bytes were sent the second time", second, size)
	}
	if third := replay(t, l, all, 3000); third < size*9/10 {
		t.Fatalf("%d of %d bytes were sent the third time", third, size)
	}

	// Case: what is no longer in the page cache would come from the disk, unseen.
	cache.evicted.Store(true)
	if sent := replay(t, l, all, 3000); sent != 0 {
		t.Errorf("%d bytes were sent that are not in the page cache", sent)
	}
	cache.evicted.Store(false)
	if sent := replay(t, l, all, 3000); sent < size*9/10 {
		t.Errorf("%d bytes were sent once they were back", sent)
	}

	// Case: a file that was closed is another's for all we know.
	_, stored, err := l.ReadStored(nil, 0, 3000)
	check(t, err)
	check(t, l.files.drop(func(fileKey) bool { return true }))
	if _, ok := stored.Open(); stored.SizeBytes() == 0 || ok {
		t.Errorf("a run of %d bytes is fit to be sent after its file was closed", stored.SizeBytes())
	}
	if sent := replay(t, l, all, 3000); sent != 0 {
		t.Errorf("%d bytes were sent of files that were opened anew", sent)
	}

	// Case: what is still in memory.
	var late journal
	late.batches = all.batches
	late.append(l, 3)
	if _, stored, err := l.ReadStored(nil, late.batches[300].BaseOffset(), 3000); err != nil || stored.SizeBytes() > 0 {
		t.Errorf("%d bytes of memory are sent from a file, %v", stored.SizeBytes(), err)
	}
	check(t, l.Close())
	if _, ok := stored.Open(); ok {
		t.Error("a run of a closed log is fit to be sent")
	}
}

// A reader whose reads end elsewhere than those that checked still gets whole batches.
func TestStoredForOtherReaders(t *testing.T) {
	_, l, all, size := storedHistory(t)
	replay(t, l, all, 3000)
	replay(t, l, all, 3000)
	for _, maxBytes := range []int{900, 2000, 7777, 1 << 20} {
		if sent := replay(t, l, all, maxBytes); sent < size/2 {
			t.Errorf("%d of %d bytes were sent to a reader of %d at a time", sent, size, maxBytes)
		}
	}
}

// A damaged batch is never sent, wherever the reader comes from, and neither is what an index invents.
func TestStoredIsWhatWasChecked(t *testing.T) {
	cache, l, all, _ := storedHistory(t)
	check(t, l.files.drop(func(fileKey) bool { return true }))
	const bad = 9000
	flip(t, cache.disk, "p/00000000000000000000.log", bad)
	for range 4 {
		offset := int64(0)
		for {
			pieces, sent, err := readOrSend(l, offset, 3000)
			if damage, ok := errors.AsType[*CorruptError](err); ok {
				if damage.Position > bad || damage.Position < bad-1000 {
					t.Fatalf("%v, the flip is at %d", damage, bad)
				}
				break
			}
			check(t, err)
			for _, piece := range pieces {
				for v, err := range batch.Split(piece) {
					check(t, err)
					if !bytes.Equal(v, all.holding(offset)) {
						t.Fatalf("another batch at %d, sent: %v", offset, sent)
					}
					offset = v.NextOffset()
				}
			}
		}
	}
}

// Case: an index whose entries are whole and lead to the middle of batches.
func TestStoredDoesNotBelieveTheIndex(t *testing.T) {
	cache, l, all, _ := storedHistory(t)
	replay(t, l, all, 3000)
	replay(t, l, all, 3000)
	f, err := cache.disk.Open("p/00000000000000000000.index")
	check(t, err)
	size, err := f.Size()
	check(t, err)
	seed := indexSeed(0)
	for at := int64(indexHeaderBytes); at < size; at += indexEntryBytes {
		var b [indexEntryBytes]byte
		_, err := f.ReadAt(b[:], at)
		check(t, err)
		e, valid := decodeIndexEntry(b[:], seed)
		if !valid {
			t.Fatalf("the entry at %d", at)
		}
		e.position += 7
		_, err = f.WriteAt(e.append(nil, seed), at)
		check(t, err)
	}
	replay(t, l, all, 2000)
}

// What compaction has left has gaps in it that nobody is to be given.
func TestCompactedIsNotSent(t *testing.T) {
	disk, s, all := compactedLog(t)
	l, err := Open((&pageCache{disk: disk}).files(), "p", Config{SegmentBytes: 900, IndexIntervalBytes: 150, Files: sendingAnything(9)}, s)
	check(t, err)
	for range 4 {
		var got []byte
		for offset := int64(0); offset < l.End(); {
			pieces, sent, err := readOrSend(l, offset, 500)
			check(t, err)
			for _, piece := range pieces {
				got = append(got, piece...)
				for v, err := range batch.Split(piece) {
					check(t, err)
					offset = v.NextOffset()
					if sent && l.segments[0].Generation > 0 && v.BaseOffset() < l.segments[1].Base {
						t.Fatalf("[%d, %d] was sent from a compacted segment", v.BaseOffset(), v.LastOffset())
					}
				}
			}
		}
		var want []byte
		for _, v := range all.batches {
			want = append(want, v...)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("not what the log holds")
		}
	}
}

// The run itself goes over the connection.
func TestSendStored(t *testing.T) {
	_, l, all, _ := storedHistory(t)
	replay(t, l, all, 3000)
	replay(t, l, all, 3000)
	_, stored, err := l.ReadStored(nil, 0, 3000)
	check(t, err)
	open, ok := stored.Open()
	if !ok {
		t.Fatal("it has gone")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	to, err := net.Dial("tcp", listener.Addr().String())
	check(t, err)
	from, err := listener.Accept()
	check(t, err)
	check(t, open.SendTo(to.(*net.TCPConn)))
	open.Close()
	check(t, to.Close())
	got, err := io.ReadAll(from)
	check(t, err)
	check(t, from.Close())
	if len(got) != stored.SizeBytes() || len(got) > 3000 || !bytes.HasPrefix(got, all.batches[0]) {
		t.Fatalf("%d bytes of %d", len(got), stored.SizeBytes())
	}
}
