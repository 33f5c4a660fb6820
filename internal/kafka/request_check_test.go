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

// The size of the largest frame in these tests, and the CPU time and the memory in bytes that checking and decoding it
// may cost.
const (
	testFrameCap   = 1 << 20
	maxHostileCPU  = 10 * time.Millisecond
	maxHostileHeap = 2 * testFrameCap
)

// TestRequestCheckAcceptsWhatClientsSend checks random requests encoded by kmsg, in every version: a request must pass,
// it must pass with a byte after its end, and it must not pass without its last byte.
func TestRequestCheckAcceptsWhatClientsSend(t *testing.T) {
	rng := seeded(t)
	for key, layout := range requestLayouts {
		row := lookupAPI(key)
		for version := row.min; version <= row.max; version++ {
			for range 50 {
				body := randomRequest(rng, key, version).AppendTo(nil)
				if err := layout.check(body, version, maxHostileHeap); err != nil {
					t.Fatalf("%s v%d: %v\n%x", row.name, version, err, body)
				}
				if err := layout.check(append(body, 0), version, maxHostileHeap); err != nil {
					t.Fatalf("%s v%d: with a byte after its end (trap 22): %v", row.name, version, err)
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

// TestRequestCheckCountsTags checks that a request with a few unknown tags passes, and one with very many does not.
func TestRequestCheckCountsTags(t *testing.T) {
	layout := requestLayouts[keyHeartbeat]
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
	// kmsg without the check would loop for a minute over these six bytes.
	endless := append(append([]byte(nil), body...), 0xff, 0xff, 0xff, 0xff, 0x0f)
	if err := layout.check(endless, 4, maxHostileHeap); !errors.Is(err, ErrMalformed) {
		t.Error("2^32-1 tags that are not there:", err)
	}
}

// bombs returns requests with as many elements as possible: for each array of the API, one request in which that array
// has as many empty elements as fit into testFrameCap.
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

// TestRequestCheckBoundsTheDensestFrames checks that the bombs of every API and version cost no more than maxHostileCPU
// and maxHostileHeap, for the check and the decoding together.
func TestRequestCheckBoundsTheDensestFrames(t *testing.T) {
	n := 0
	for key := range requestLayouts {
		row := lookupAPI(key)
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

// FuzzRequestCheck checks that kmsg decodes every body that passes the check without an error, and that no body costs
// more CPU time or memory than allowed.
func FuzzRequestCheck(f *testing.F) {
	for key := range requestLayouts {
		row := lookupAPI(key)
		for version := row.min; version <= row.max; version++ {
			req := kmsg.RequestForKey(int16(key))
			req.SetVersion(version)
			f.Add(int16(key), version, req.AppendTo(nil))
			f.Add(int16(key), version, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0xff})
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		row := lookupAPI(Key(key))
		if row == nil || requestLayouts[row.key] == nil || version < row.min || version > row.max || len(body) > testFrameCap {
			t.Skip()
		}
		assertCheap(t, row.key, version, body)
	})
}

// assertCheap checks body and decodes it with kmsg, as a connection does. It fails the test if that costs more than
// maxHostileCPU or maxHostileHeap.
func assertCheap(t *testing.T, key Key, version int16, body []byte) {
	t.Helper()
	req := kmsg.RequestForKey(int16(key))
	req.SetVersion(version)
	cost := math.MaxInt64 * time.Nanosecond
	for range 3 { // take the least of three: a garbage collection may fall into one of them
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := threadCPU()
		err := requestLayouts[key].check(body, version, maxHostileHeap-len(body))
		if err == nil {
			err = req.ReadFrom(body)
			if err != nil {
				t.Fatalf("%s v%d: the check passed what kmsg refuses: %v\n%x", lookupAPI(key).name, version, err, clip(body))
			}
		}
		cost = min(cost, threadCPU()-start)
		runtime.ReadMemStats(&after)
		if heap := int64(after.TotalAlloc-before.TotalAlloc) + int64(len(body)); heap > maxHostileHeap {
			t.Fatalf("%s v%d: a frame of %d bytes holds %d in all", lookupAPI(key).name, version, len(body), heap)
		}
		if cost <= maxHostileCPU {
			return
		}
	}
	t.Fatalf("%s v%d: a frame of %d bytes takes %v", lookupAPI(key).name, version, len(body), cost)
}

// clip returns at most the first 200 bytes of b, for printing.
func clip(b []byte) []byte { return b[:min(len(b), 200)] }
