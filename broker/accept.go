package broker

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// accept returns the next connection of l. If l.Accept fails with an error that may pass, accept logs the error, waits
// for at most a second, and tries again. It returns any other error of l.Accept, and whatever l.Accept returns once
// Close has begun.
func (b *Broker) accept(l net.Listener) (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		conn, err := l.Accept()
		if err == nil || b.isClosing() || !passing(err) {
			return conn, err
		}
		b.log.Warn("a connection could not be accepted", "address", l.Addr(), "err", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-b.ctx.Done():
		}
	}
}

// passingErrors are the errors of accept(2) that are no fault of the listening socket: the process or the system has no
// free file descriptor or no memory (docs/kafka-traps.md, trap 26), a firewall has refused the connection, or the
// connection has failed before it was accepted. Linux returns the network errors of such a connection from accept.
var passingErrors = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.EPERM, syscall.ECONNABORTED, syscall.ECONNRESET,
	syscall.EPROTO, syscall.ENOPROTOOPT, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}

// passing reports whether accepting connections may succeed again after err. Errors of a listener that is not one of
// package net pass if they say so by a method Temporary, as for [net/http.Server.Serve].
func passing(err error) bool {
	if slices.ContainsFunc(passingErrors, func(e error) bool { return errors.Is(err, e) }) {
		return true
	}
	temporary, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && temporary.Temporary()
}
