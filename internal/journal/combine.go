package journal

// Checksums of what was summed already. A CRC is linear: that of two runs of bytes, joined, follows from the CRC of each
// and the length of the second, as multiplication by a power of x in the polynomials over GF(2) modulo the CRC's own
// (the method is Mark Adler's, of zlib's crc32_combine). So the payload of a batch, whose own CRC was checked when it
// came, is summed once and not twice.

// combineBytes is the length from which on combining is cheaper than summing again.
const combineBytes = 16 << 10

// castagnoliPoly is the polynomial of CRC-32C, bits reversed: the highest bit is the coefficient of x^0.
const castagnoliPoly = 0x82f63b78

// squares are x^(2^i): to multiply by one is to append 2^i zero bits.
var squares = func() (s [40]uint32) {
	s[0] = 1 << 30 // x
	for i := 1; i < len(s); i++ {
		s[i] = multiply(s[i-1], s[i-1])
	}
	return s
}()

// multiply is the product of two polynomials modulo the CRC's.
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

// combine is the CRC-32C of first and second, joined, of which the CRCs and the length of the second are known.
func combine(first, second, secondBytes uint32) uint32 {
	shift := uint32(1 << 31) // x^0
	for i, n := 3, secondBytes; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			shift = multiply(squares[i], shift)
		}
	}
	return multiply(shift, first) ^ second
}
