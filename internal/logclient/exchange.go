package logclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds the bytes of a response that ask reads.
const maxAnswer = 64 << 20

// ask sends a request over a connection on which no other one is under way, and returns the response.
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
	if req.IsFlexible() {
		var err error
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(body)
}

// skipTags returns what follows the tagged fields at the beginning of b (KIP-482).
func skipTags(b []byte) ([]byte, error) {
	r := kbin.Reader{Src: b}
	for tags := r.Uvarint(); tags > 0 && r.Ok(); tags-- {
		r.Uvarint() // the tag
		r.Span(int(r.Uvarint()))
	}
	return r.Src, r.Complete()
}
