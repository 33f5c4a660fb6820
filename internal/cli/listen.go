package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"tidings.dev/broker"
)

const defaultListen = "127.0.0.1:9092"

// listen takes an address. A port that is taken is a fault which names the process that has it.
func listen(address string, insecure bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usagef("give it as HOST:PORT, for example "+defaultListen, "--listen %q: %v", address, err)
	}
	if !insecure && !isLoopback(host) {
		return nil, usagef("listen on 127.0.0.1, or say --insecure if whoever can reach it may do anything",
			"--listen %s is open to the network, and there is no authentication yet", address)
	}
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		number, _ := strconv.Atoi(port)
		return nil, &Fault{
			Code: "port_taken", Message: fmt.Sprintf("%s is taken by %s", address, portOwner(number)), Exit: ExitFailed, Err: err,
			Hint: "end that process, or listen elsewhere: --listen " + net.JoinHostPort(host, "0") + " takes a free port",
		}
	case errors.Is(err, syscall.EACCES):
		return nil, failedf("port_refused", "ports below 1024 are for root: take a higher one", "may not listen on %s", address)
	}
	return nil, failedf("listen", "name another address with --listen", "cannot listen on %s: %s", address, rootCause(err))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listenNear takes an address, or the next free port after it. The note is empty if it got what was asked for.
func listenNear(address string, insecure bool) (l net.Listener, note string, err error) {
	const tries = 20
	l, taken := listen(address, insecure)
	fault, ok := errors.AsType[*Fault](taken)
	if taken == nil || !ok || fault.Code != "port_taken" {
		return l, "", taken
	}
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	for next := number + 1; next <= min(number+tries, 65535); next++ {
		if l, err := listen(net.JoinHostPort(host, strconv.Itoa(next)), insecure); err == nil {
			return l, fault.Message, nil
		}
	}
	l, err = listen(net.JoinHostPort(host, "0"), insecure)
	return l, fault.Message, err
}

// openBroker opens the broker on a data directory; what may be wrong with the directory becomes a fault that says so.
func openBroker(c broker.Config) (*broker.Broker, error) {
	b, err := broker.Open(c)
	if err == nil {
		return b, nil
	}
	if locked, ok := errors.AsType[*broker.LockedError](err); ok {
		return nil, &Fault{Code: "data_in_use", Message: locked.Error(), Exit: ExitFailed, Err: err,
			Hint: fmt.Sprintf("it can be reached with --data %s; or end that process, or name another directory", c.Dir)}
	}
	if foreign, ok := errors.AsType[*broker.ForeignError](err); ok {
		return nil, &Fault{Code: "data_foreign", Message: fmt.Sprintf("%s: %v", c.Dir, foreign), Exit: ExitFailed, Err: err,
			Hint: "name an empty directory, or one of a broker's, with --data DIR; if it was one, `tidings doctor` says what became of it"}
	}
	if format, ok := errors.AsType[*broker.FormatError](err); ok {
		return nil, &Fault{Code: "data_format", Message: fmt.Sprintf("%s: %v", c.Dir, format), Exit: ExitFailed, Err: err,
			Hint: "open it with the version that made it"}
	}
	fault := *asFault(err)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		fault.Code, fault.Exit, fault.Hint = "unwritable", ExitFailed, "name a directory with --data DIR"
	case fault.Code == "failed", fault.Code == "not_found":
		fault.Code, fault.Exit = "data", ExitFailed
		fault.Hint = fmt.Sprintf("`tidings doctor %s` says what is wrong with it", c.Dir)
	}
	return nil, &fault
}
