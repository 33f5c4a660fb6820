package vfs

// partsBytes returns the sum of the lengths of all parts.
func partsBytes(parts [][]byte) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// partsReader reads the bytes of several parts in order. The zero value has no bytes.
type partsReader struct {
	parts [][]byte
	at    int // index of the next byte in parts[0]
}

// next returns the next bytes: at most n, from a single part, and without a copy. At the end it returns nil.
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

// fill copies the next bytes to b until b is full or there are no more. It returns the number of bytes copied.
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
