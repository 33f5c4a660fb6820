package kafka

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a hostile frame may cost, by RELIABILITY.md.
const (
	testFrameCap   = 1 << 20
	maxHostileCPU  = 10 * time.Millisecond
	maxHostileHeap = 2 * testFrameCap
)

// Whatever kmsg can say, the guard understands to the last byte: every key, every version.
func TestGuardAcceptsWhatClientsSend(t *testing.T) {
	rng := seeded(t)
	for key, layout := range layouts {
		row := lookup(key)
		for version := row.min; version <= row.max; version++ {
			for range 50 {
				body := randomRequest(rng, key, version).AppendTo(nil)
				if err := layout.check(body, version, maxHostileHeap); err != nil {
					t.Fatalf("%s v%d: %v\n%x", row.name, version, err, body)
				}
				if err := layout.check(append(body, 0), version, maxHostileHeap); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s v%d: a byte too many: %v", row.name, version, err)
				}
				if len(body) == 0 {
					continue
				}
				if err := layout.check(body[:rng.IntN(len(body))], version, maxHostileHeap); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s v%d: cut short: %v", row.name, version, err)
				}
			}
		}
	}
}

// Unknown tags of a future client pass; a flood of them does not.
func TestGuardCountsTags(t *testing.T) {
	layout := layouts[keyHeartbeat]
	body := []byte{2, 'g', 0, 0, 0, 1, 2, 'm', 0}
	withTags := func(n int) []byte {
		b := binary.AppendUvarint(append([]byte(nil), body...), uint64(n))
		for i := range n {
			b = append(binary.AppendUvarint(b, uint64(i)), 0)
		}
		return b
	}
	if err := layout.check(withTags(3), 4, maxHostileHeap); err != nil {
		t.Error("three unknown tags:", err)
	}
	if err := layout.check(withTags(1<<17), 4, maxHostileHeap); !errors.Is(err, ErrRequestTooLarge) {
		t.Error("131072 unknown tags:", err)
	}
	// The six bytes that kmsg alone would loop over for a minute.
	endless := append(append([]byte(nil), body...), 0xff, 0xff, 0xff, 0xff, 0x0f)
	if err := layout.check(endless, 4, maxHostileHeap); !errors.Is(err, ErrMalformed) {
		t.Error("2^32-1 tags that are not there:", err)
	}
}

// bombs are the densest requests of a key and version: for each list, as many empty elements as the cap has room for.
func bombs(key Key, version int16) (bodies [][]byte) {
	var visit func(root kmsg.Request, v reflect.Value)
	visit = func(root kmsg.Request, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() != reflect.Slice || !f.CanSet() {
				continue
			}
			size := func(n int) int {
				f.Set(reflect.MakeSlice(f.Type(), n, n))
				return len(root.AppendTo(nil))
			}
			empty := size(0)
			if each := (size(64) - empty) / 64; each > 0 {
				size((testFrameCap - empty - 8) / each)
				bodies = append(bodies, root.AppendTo(nil))
			}
			size(1)
			if f.Type().Elem().Kind() == reflect.Struct {
				visit(root, f.Index(0))
			}
			f.SetZero()
		}
	}
	root := kmsg.RequestForKey(int16(key))
	root.SetVersion(version)
	visit(root, reflect.ValueOf(root).Elem())
	return bodies
}

// The densest frames of every key and version keep within what a frame may cost, guard and kmsg together.
func TestGuardBoundsTheDensestFrames(t *testing.T) {
	n := 0
	for key := range layouts {
		row := lookup(key)
		for _, version := range []int16{row.min, min(row.flexible, row.max), row.max} {
			for _, body := range bombs(key, version) {
				n++
				assertCheap(t, key, version, body)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d bombs: the generator is broken", n)
	}
}

// FuzzGuard: what the guard lets pass, kmsg decodes without error, and no frame costs more CPU and memory than allowed.
func FuzzGuard(f *testing.F) {
	for key := range layouts {
		row := lookup(key)
		for version := row.min; version <= row.max; version++ {
			req := kmsg.RequestForKey(int16(key))
			req.SetVersion(version)
			f.Add(int16(key), version, req.AppendTo(nil))
			f.Add(int16(key), version, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0xff})
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		row := lookup(Key(key))
		if row == nil || layouts[row.key] == nil || version < row.min || version > row.max || len(body) > testFrameCap {
			t.Skip()
		}
		assertCheap(t, row.key, version, body)
	})
}

// assertCheap puts one body through guard and kmsg, as a connection does.
func assertCheap(t *testing.T, key Key, version int16, body []byte) {
	t.Helper()
	req := kmsg.RequestForKey(int16(key))
	req.SetVersion(version)
	cost := math.MaxInt64 * time.Nanosecond
	for range 3 { // the least of three: a collection in the middle isn't the frame's fault
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := threadCPU()
		err := layouts[key].check(body, version, maxHostileHeap-len(body))
		if err == nil {
			err = req.ReadFrom(body)
			if err != nil {
				t.Fatalf("%s v%d: the guard passed what kmsg refuses: %v\n%x", lookup(key).name, version, err, clip(body))
			}
		}
		cost = min(cost, threadCPU()-start)
		runtime.ReadMemStats(&after)
		if heap := int64(after.TotalAlloc-before.TotalAlloc) + int64(len(body)); heap > maxHostileHeap {
			t.Fatalf("%s v%d: a frame of %d bytes holds %d in all", lookup(key).name, version, len(body), heap)
		}
		if cost <= maxHostileCPU {
			return
		}
	}
	t.Fatalf("%s v%d: a frame of %d bytes takes %v", lookup(key).name, version, len(body), cost)
}

func clip(b []byte) []byte { return b[:min(len(b), 200)] }
