package vfs

// partsBytes is how many bytes the parts are together.
func partsBytes(parts [][]byte) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// partsReader hands out the bytes of some parts in order. The zero value has none.
type partsReader struct {
	parts [][]byte
	at    int // in parts[0]
}

// next returns what is left of the first part, at most n bytes, without a copy; nil at the end.
func (r *partsReader) next(n int) []byte {
	for len(r.parts) > 0 {
		p := r.parts[0][r.at:]
		if len(p) == 0 {
			r.parts, r.at = r.parts[1:], 0
			continue
		}
		p = p[:min(n, len(p))]
		r.at += len(p)
		return p
	}
	return nil
}

// fill copies the next bytes to b, as far as there are any, and says how many these were.
func (r *partsReader) fill(b []byte) int {
	n := 0
	for n < len(b) {
		p := r.next(len(b) - n)
		if p == nil {
			break
		}
		n += copy(b[n:], p)
	}
	return n
}
