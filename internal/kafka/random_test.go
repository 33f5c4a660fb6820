package kafka

import (
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seeded returns a random source. If the test fails, it prints the seed and the command that runs the test with the
// same seed.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s := seedFlag(); s != 0 {
		seed = s
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: KAFKA_SEED=%d go test ./internal/kafka -run '^%s$'", seed, t.Name())
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// fill sets every field of a kmsg request to a random value. It leaves unknown tags empty, because kmsg keeps them
// apart.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "UnknownTags" || name == "Version" || !v.Field(i).CanSet() {
				continue
			}
			fill(rng, v.Field(i))
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Slice:
		n := rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.String:
		v.SetString(strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(20)))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rng.Int64() >> rng.IntN(64))
	case reflect.Uint8:
		v.SetUint(uint64(rng.IntN(256)))
	}
}

// randomRequest returns a random request of this API and version.
func randomRequest(rng *rand.Rand, key Key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(int16(key))
	fill(rng, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

// seedFlag returns the seed that was given on the command line, or 0.
func seedFlag() uint64 {
	n, _ := strconv.ParseUint(os.Getenv("KAFKA_SEED"), 10, 64)
	return n
}
