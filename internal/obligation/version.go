package obligation

import (
	"cmp"
	"runtime/debug"
	"strings"
)

// Version is the version of a program that runs a reaction. Versions are ordered, so that an instance of an older
// program does not undo what a newer one has subscribed to. The zero value is the version of a program without one,
// and is lower than every other version.
type Version struct {
	// Named is the version that the program has set. A version with a name is higher than every version without one.
	Named string `json:"named,omitempty"`
	// Built is the time of the commit that the program was built from, in RFC 3339 and UTC. It is used if Named is
	// empty.
	Built string `json:"built,omitempty"`
}

// BuiltVersion returns the version of this program by the time of the commit that it was built from, which the Go
// command stamps into binaries. In tests and under "go run" nothing is stamped, and BuiltVersion returns the zero
// value.
func BuiltVersion() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return Version{Built: s.Value}
		}
	}
	return Version{}
}

// IsZero reports whether v is the zero value.
func (v Version) IsZero() bool { return v == Version{} }

// String returns Named or, if that is empty, Built. It returns "none" for the zero value.
func (v Version) String() string { return cmp.Or(v.Named, v.Built, "none") }

// Compare returns -1, 0 or +1 if v is lower than, equal to or higher than w. Names are compared number by number, and
// byte by byte between numbers: 1.9 is lower than 1.10, and 2026-09 is lower than 2026-10. If one name begins with the
// other, the longer one is higher.
func (v Version) Compare(w Version) int {
	switch {
	case v.Named != "" && w.Named != "":
		return compareNatural(v.Named, w.Named)
	case v.Named != "" || w.Named != "":
		return cmp.Compare(len(v.Named), len(w.Named))
	default:
		return cmp.Compare(v.Built, w.Built)
	}
}

// compareNatural compares two names as Compare documents: each run of digits counts as one number.
func compareNatural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da == "" || db == "" {
			if c := cmp.Compare(a[0], b[0]); c != 0 {
				return c
			}
			a, b = a[1:], b[1:]
			continue
		}
		a, b = a[len(da):], b[len(db):]
		na, nb := strings.TrimLeft(da, "0"), strings.TrimLeft(db, "0")
		if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// digits returns the decimal digits at the beginning of s.
func digits(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return s
	}
	return s[:end]
}
