package kafka

import (
	"testing"
	"time"
)

// sessionOf returns a session that counts bytes.
func sessionOf(bytes int) *fetchSession {
	s := newFetchSession(newSessionID(), false)
	s.bytes = bytes
	return s
}

// TestFetchSessions checks who gets a place among the sessions, and who loses one.
func TestFetchSessions(t *testing.T) {
	start := time.Now()
	f := newFetchSessions(3, 1000)
	var conns [8]conn
	begins := func(c int, bytes int, after time.Duration, want bool) *fetchSession {
		t.Helper()
		s := sessionOf(bytes)
		if got := f.begin(&conns[c], s, start.Add(after)); got != want {
			t.Errorf("connection %d begins with %d bytes after %v: %t", c, bytes, after, got)
		}
		return s
	}
	used := func(c int, s *fetchSession, after time.Duration, want bool) {
		t.Helper()
		if got := f.use(&conns[c], s.id, start.Add(after)); (got == s) != want || got != nil && got != s {
			t.Errorf("the session of connection %d after %v: %v", c, after, got)
		}
	}
	inUse := func(sessions, bytes int) {
		t.Helper()
		if s, b := f.inUse(); s != sessions || b != bytes {
			t.Errorf("%d sessions of %d bytes, want %d of %d", s, b, sessions, bytes)
		}
	}

	// Case: there is room.
	s0, s1, s2 := begins(0, 100, 0, true), begins(1, 200, 1, true), begins(2, 300, 2, true)
	used(0, s0, time.Minute, true)
	used(1, s0, time.Minute, false) // that of another connection
	inUse(3, 600)

	// Case: nobody makes place within two minutes, neither for a larger session.
	begins(3, 400, 2*time.Minute, false)
	inUse(3, 600)

	// Case: a session that was not used for two minutes makes place, the one that was used last the longest ago.
	used(1, s1, 2*time.Minute+1, true)
	s3 := begins(3, 50, 2*time.Minute+3, true)
	used(2, s2, 2*time.Minute+3, false)
	inUse(3, 350)

	// Case: when all are in use, an old one makes place for a larger one, the smallest first, and not for a smaller one.
	used(0, s0, 2*time.Minute+4, true)
	begins(4, 100, 2*time.Minute+4, false)
	s4 := begins(4, 101, 2*time.Minute+4, true)
	used(0, s0, 2*time.Minute+4, false)
	used(3, s3, 2*time.Minute+4, true) // the smallest, but new
	inUse(3, 351)

	// Case: a connection has one session at a time.
	f.end(&conns[1])
	s5 := begins(4, 10, 2*time.Minute+5, true)
	used(4, s4, 2*time.Minute+5, false)
	used(4, s5, 2*time.Minute+5, true)
	inUse(2, 60)

	// Case: one that does not fit is not there, and takes nobody's place; nor is the one before it.
	begins(4, 1001, time.Hour, false)
	inUse(1, 50)

	// Case: a session grows as long as there is room, which idle ones make.
	s6 := begins(6, 100, time.Hour, true)
	s6.bytes = 990
	if !f.resize(&conns[6], start.Add(time.Hour)) {
		t.Error("it does not grow")
	}
	used(3, s3, time.Hour, false)
	inUse(1, 990)
	s7 := begins(7, 10, time.Hour, true)
	s7.bytes = 11
	if f.resize(&conns[7], start.Add(time.Hour)) {
		t.Error("it grows beyond the room")
	}
	used(7, s7, time.Hour, false)
	inUse(1, 990)
	f.end(&conns[7]) // a second time
	f.end(&conns[6])
	inUse(0, 0)
	if f.resize(&conns[6], start) {
		t.Error("a session that has ended grows")
	}
}
