//go:build !unix

package kafka

// canPeek reports whether peekInput works on this platform.
const canPeek = false

// peekInput is not called, because canPeek is false.
func peekInput(uintptr, []byte) bool { return true }
