package obligation

import "testing"

// Each version in the list is lower than all that follow it, and equal to itself.
func TestVersionsAreOrdered(t *testing.T) {
	ascending := []Version{
		{},
		{Built: "2026-11-29T08:00:00Z"},
		{Built: "2026-11-29T10:00:00Z"},
		{Named: "1"},
		{Named: "1.2"},
		{Named: "1.2.9"},
		{Named: "1.2.10"},
		{Named: "2026-10"},
		{Named: "v1"},
		{Named: "v1-rc"},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Compare(b), sign(i-j); got != want {
				t.Errorf("%v against %v: %d, want %d", a, b, got, want)
			}
		}
	}
	if (Version{Named: "v01"}).Compare(Version{Named: "v1"}) != 0 {
		t.Error("leading zeros count")
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
