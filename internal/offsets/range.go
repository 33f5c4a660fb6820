package offsets

import "encoding/json"

// Range is the offsets in [Lo, Hi). In JSON it is the pair [lo,hi], as in the records of marks
// (docs/format/obligations.md).
type Range struct{ Lo, Hi int64 }

// Contains reports whether offset is in the range.
func (r Range) Contains(offset int64) bool { return r.Lo <= offset && offset < r.Hi }

// MarshalJSON returns the pair [lo,hi].
func (r Range) MarshalJSON() ([]byte, error) { return json.Marshal([2]int64{r.Lo, r.Hi}) }

// UnmarshalJSON reads the pair [lo,hi]. It does not check that lo <= hi.
func (r *Range) UnmarshalJSON(b []byte) error {
	var pair [2]int64
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	r.Lo, r.Hi = pair[0], pair[1]
	return nil
}
