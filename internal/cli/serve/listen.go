package serve

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"tidings.dev/internal/cli/shell"
)

// DefaultListen is the default address that a broker listens on.
const DefaultListen = "127.0.0.1:9092"

// portTaken is the code of the fault that Listen returns if another process listens on the port.
const portTaken = "port_taken"

// Listen listens on the TCP address HOST:PORT; port 0 selects a free port. Unless insecure is true, the host must be
// a loopback address. Errors are faults. If the port is taken, the fault names the process that has it.
func Listen(address string, insecure bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, shell.Usagef("give it as HOST:PORT, for example "+DefaultListen, "--listen %q: %v", address, err)
	}
	if !insecure && !isLoopback(host) {
		return nil, shell.Usagef("listen on 127.0.0.1, or add --insecure if whoever can reach it may do anything",
			"--listen %s is open to the network, and there is no authentication yet", address)
	}
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		number, _ := strconv.Atoi(port)
		return nil, &shell.Fault{
			Code: portTaken, Message: fmt.Sprintf("%s is taken by %s", address, portOwner(number)), Exit: shell.ExitFailed, Err: err,
			Hint: "end that process, or listen elsewhere: --listen " + net.JoinHostPort(host, "0") + " takes a free port",
		}
	case errors.Is(err, syscall.EACCES):
		return nil, shell.Failedf("port_refused", "ports below 1024 are for root: take a higher one", "may not listen on %s", address)
	}
	return nil, shell.Failedf("listen", "name another address with --listen", "cannot listen on %s: %s", address, shell.RootCause(err))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ListenNear is like Listen, but if the port is taken it uses the first free one of the next twenty ports, or else
// any free port. note is then a text that names the process on the original port; otherwise it is empty.
func ListenNear(address string, insecure bool) (l net.Listener, note string, err error) {
	const tries = 20
	l, err = Listen(address, insecure)
	fault, ok := errors.AsType[*shell.Fault](err)
	if !ok || fault.Code != portTaken {
		return l, "", err
	}
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	for next := number + 1; next <= min(number+tries, 65535); next++ {
		if l, err := Listen(net.JoinHostPort(host, strconv.Itoa(next)), insecure); err == nil {
			return l, fault.Message, nil
		}
	}
	l, err = Listen(net.JoinHostPort(host, "0"), insecure)
	return l, fault.Message, err
}
