package cloudevent

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// traceParentLen is the length of a traceparent of W3C Trace Context, version 00:
//
//	00-<trace id, 32 hex digits>-<parent span id, 16 hex digits>-<flags, 2 hex digits>
const traceParentLen = 2 + 1 + 32 + 1 + 16 + 1 + 2

// ValidTraceParent reports whether s is a traceparent of version 00, or one of a later version, which may be longer
// but begins in the same way. An id of zeros is not valid.
func ValidTraceParent(s string) bool {
	if len(s) < traceParentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return false
	}
	if len(s) > traceParentLen && (s[:2] == "00" || s[traceParentLen] != '-') {
		return false
	}
	for _, part := range []string{s[:2], s[3:35], s[36:52], s[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// ChildTraceParent returns a traceparent of version 00 with a new random span. If parent is valid, the result has its
// trace and flags; otherwise it begins a new trace that is not sampled.
func ChildTraceParent(parent string) string {
	var text [traceParentLen]byte
	copy(text[:], "00-00000000000000000000000000000000-0000000000000000-00")
	if ValidTraceParent(parent) {
		copy(text[3:35], parent[3:35])
		copy(text[53:], parent[53:55])
	} else {
		hexadecimal(text[3:19], rand.Uint64())
		hexadecimal(text[19:35], rand.Uint64())
	}
	hexadecimal(text[36:52], rand.Uint64())
	return string(text[:])
}

// hexadecimal writes a number as 16 hexadecimal digits.
func hexadecimal(to []byte, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	hex.Encode(to, b[:])
}

// TraceID returns the trace id of the traceparent s, 32 hexadecimal digits, or "" if s is not valid.
func TraceID(s string) string {
	if !ValidTraceParent(s) {
		return ""
	}
	return s[3:35]
}
