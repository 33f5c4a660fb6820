package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes that can be the value of a flag: 100, 64KiB, 1.5GiB, 10MB.
type ByteSize int64

// sizeUnits are the units that Set accepts. The first four are also used by String.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// Type returns the text that the help shows for the value of the flag.
func (b *ByteSize) Type() string { return "size" }

// String returns the size in the largest binary unit that gives a whole number. Set accepts the result.
func (b *ByteSize) String() string {
	for i := 3; i >= 0; i-- {
		unit := int64(sizeUnits[i].bytes)
		if n := int64(*b); n >= unit && n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + sizeUnits[i].name
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Set parses a size. It returns an error if s is not a number of bytes from 0 to 1 PiB.
func (b *ByteSize) Set(s string) error {
	number, unit := s, 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*unit > 1<<50 {
		return fmt.Errorf("want bytes, as 100, 64KiB or 10MB")
	}
	*b = ByteSize(n * unit)
	return nil
}

// Thousands returns f, rounded to a whole number, with commas: 1,234,568.
func Thousands(f float64) string {
	digits := strconv.FormatInt(int64(math.Round(f)), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
