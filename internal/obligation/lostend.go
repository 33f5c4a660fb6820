package obligation

import (
	"slices"

	"tidings.dev/internal/offsets"
)

// Below returns what marks say about the offsets below end. It returns m itself if that is all they say.
//
// A log may lose its end, in a power cut or when it is restored, while handlers run for events of that end. Their marks come
// afterwards, and name offsets at which there are other events then. Marks.Leader tells them apart: an event that is still in the
// log lies below the end of the leader epoch that its reader knew (KIP-320). end is the end of that epoch.
func (m *Marks) Below(end int64) *Marks {
	if m.Position <= end && below(m.Done, end) && !slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Offset >= end }) {
		return m
	}
	cut := *m
	cut.Position = min(m.Position, end)
	cut.Done, cut.Unhandled = cutFrom(m.Done, end), cutFrom(m.Unhandled, end)
	if m.Emitted != nil {
		cut.Emitted = append([]offsets.Range{}, cutFrom(m.Emitted, end)...)
	}
	cut.Skipped = slices.DeleteFunc(slices.Clone(m.Skipped), func(s Skipped) bool { return s.Offset >= end })
	cut.Retried = slices.DeleteFunc(slices.Clone(m.Retried), func(r Retried) bool { return r.Offset >= end })
	cut.Copies = slices.DeleteFunc(slices.Clone(m.Copies), func(c Copy) bool { return c.Offset >= end })
	cut.Duplicates = slices.DeleteFunc(slices.Clone(m.Duplicates), func(o int64) bool { return o >= end })
	cut.Times = slices.DeleteFunc(slices.Clone(m.Times), func(t Timing) bool { return t.Offset >= end })
	return &cut
}

// below reports whether no range reaches beyond end.
func below(ranges []offsets.Range, end int64) bool {
	return !slices.ContainsFunc(ranges, func(r offsets.Range) bool { return r.Hi > end })
}

// cutFrom returns the parts of ranges that are below end.
func cutFrom(ranges []offsets.Range, end int64) (cut []offsets.Range) {
	for _, r := range ranges {
		if r.Hi = min(r.Hi, end); r.Lo < r.Hi {
			cut = append(cut, r)
		}
	}
	return cut
}
