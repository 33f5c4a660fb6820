package logclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds the bytes of a response that ask reads.
const maxAnswer = 64 << 20

// ask sends a request over a connection on which no other one is under way, and returns the response. The version of the request
// must not be flexible (KIP-482), so that the headers of both have no tags.
func ask(conn net.Conn, req kmsg.Request) (kmsg.Response, error) {
	const correlation = 1
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("tidings")).AppendRequest(nil, req, correlation)); err != nil {
		return nil, err
	}
	var header [8]byte // the number of bytes that follow, and the correlation id
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(header[:4])) - 4
	if size < 0 || size > maxAnswer {
		return nil, fmt.Errorf("a response of %d bytes", size)
	}
	if binary.BigEndian.Uint32(header[4:]) != correlation {
		return nil, errors.New("a response to another request")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(body)
}
