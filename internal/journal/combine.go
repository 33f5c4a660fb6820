package journal

// This file combines checksums. A CRC is linear: the CRC of two joined byte strings follows from the CRC of each and
// the length of the second. Polynomials over GF(2), modulo the polynomial of the CRC, are multiplied by a power of x
// for that (the method is Mark Adler's, of crc32_combine in zlib). The checksum of a batch was verified when the batch
// arrived, and with this method the journal need not read the batch a second time for the checksum of the frame.

// combineBytes is the length in bytes from which on combining checksums is cheaper than reading the bytes again.
const combineBytes = 16 << 10

// castagnoliPoly is the polynomial of CRC-32C with its bits reversed: the highest bit is the coefficient of x^0.
const castagnoliPoly = 0x82f63b78

// squares[i] is x^(2^i). To multiply a CRC by it corresponds to appending 2^i zero bits to the data.
var squares = func() (s [40]uint32) {
	s[0] = 1 << 30 // x
	for i := 1; i < len(s); i++ {
		s[i] = multiply(s[i-1], s[i-1])
	}
	return s
}()

// multiply returns the product of two polynomials modulo the polynomial of the CRC.
func multiply(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		odd := b & 1
		b >>= 1
		if odd != 0 {
			b ^= castagnoliPoly
		}
	}
	return product
}

// combine returns the CRC-32C of two joined byte strings. first and second are the CRCs of the two strings, and
// secondBytes is the length of the second.
func combine(first, second, secondBytes uint32) uint32 {
	shift := uint32(1 << 31) // x^0
	for i, n := 3, secondBytes; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			shift = multiply(squares[i], shift)
		}
	}
	return multiply(shift, first) ^ second
}
