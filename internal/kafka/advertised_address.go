package kafka

import (
	"net"
	"net/netip"
	"strconv"
)

// The broker address that is told to clients on an in-memory connection or a unix socket. Such clients dial through
// their own link and ignore it.
const (
	virtualHost = "tidings"
	virtualPort = 9092
)

// advertisedAddress returns the broker address that a client is told: configured, which is "host:port" or "host". If
// configured is empty or lacks a port, the missing parts come from dialled, the address that the client has connected
// to. A broker with several names or networks then works in each of them (docs/kafka-traps.md, trap 21).
func advertisedAddress(configured string, dialled net.Addr) (host string, port int32) {
	host, port = virtualHost, virtualPort
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

// PeerHost returns a client's address as group descriptions show it: "/" and the IP address, as in Apache Kafka, or
// "/local" for a client that is not on TCP.
func PeerHost(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return "/" + tcp.IP.String()
	}
	return "/local"
}
