package kafka

import (
	"net"
	"net/netip"
	"strconv"
)

// A client that came by the in-memory pipe or a unix socket is told this address, which its dialer ignores.
const (
	privateHost = "tidings"
	privatePort = 9092
)

// advertise returns the address that a client is told for this broker: the configured one, else the one it dialled, so
// that a broker reached by several names or networks works in each of them.
func advertise(configured string, dialled net.Addr) (host string, port int32) {
	host, port = privateHost, privatePort
	if tcp, ok := dialled.(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(tcp.IP)
		host, port = addr.Unmap().WithZone(tcp.Zone).String(), int32(tcp.Port)
	}
	if configured == "" {
		return host, port
	}
	h, p, err := net.SplitHostPort(configured)
	if err != nil {
		return configured, port // a host alone
	}
	if n, err := strconv.ParseUint(p, 10, 16); err == nil && n > 0 {
		port = int32(n)
	}
	return h, port
}

// hostOf is a peer as group descriptions show it: "/" and its address, as Apache Kafka writes it.
func hostOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return "/" + tcp.IP.String()
	}
	return "/local"
}
