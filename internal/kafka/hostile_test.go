package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
)

// TestApiVersions sends ApiVersions in every version, and in a version that does not exist.
func TestApiVersions(t *testing.T) {
	h := newTestServer(t)
	hello := kmsg.NewPtrApiVersionsRequest()
	hello.ClientSoftwareName, hello.ClientSoftwareVersion = "test", "1.0"
	for v := range lookupAPI(keyApiVersions).max + 1 {
		got := roundTrip[*kmsg.ApiVersionsResponse](h.dial(), hello, v)
		if got.ErrorCode != none || len(got.ApiKeys) != len(servedAPIs) {
			t.Errorf("v%d: %+v", v, got)
		}
		features := fmt.Sprint(got.SupportedFeatures, got.FinalizedFeatures, got.FinalizedFeaturesEpoch)
		want := "[] [] -1"
		if v >= 3 {
			want = fmt.Sprint([]kmsg.ApiVersionsResponseSupportedFeature{{Name: "transaction.version", MaxVersion: 2}},
				[]kmsg.ApiVersionsResponseFinalizedFeature{{Name: "transaction.version", MaxVersionLevel: 2, MinVersionLevel: 2}}, 0)
		}
		if features != want {
			t.Errorf("v%d: features %s, want %s", v, features, want)
		}
		for i, key := range got.ApiKeys {
			if want := servedAPIs[i]; key.ApiKey != int16(want.key) || key.MinVersion != want.min || key.MaxVersion != want.max {
				t.Errorf("v%d: %+v, want %+v", v, key, want)
			}
		}
	}

	// An unknown version is answered in version 0, with the error code and the list of APIs, and the connection stays
	// open (trap 1).
	w := h.dial()
	frame := frameOf(hello, 7)
	binary.BigEndian.PutUint16(frame[6:], 99)
	w.write(frame)
	correlation, body := w.read()
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(body); err != nil || correlation != 7 {
		t.Fatal(correlation, err)
	}
	if resp.ErrorCode != unsupportedVersion || len(resp.ApiKeys) != len(servedAPIs) {
		t.Errorf("%+v", resp)
	}
	if got := roundTrip[*kmsg.ApiVersionsResponse](w, hello, 0); got.ErrorCode != none {
		t.Errorf("the second try: %+v", got)
	}

	// Case: a client software name that KIP-511 does not allow.
	hello.ClientSoftwareName = "-x"
	if got := roundTrip[*kmsg.ApiVersionsResponse](w, hello, 3); got.ErrorCode != invalidRequest {
		t.Errorf("%+v", got)
	}
}

// TestSaslIsNotConfigured checks that both SASL requests are refused with an error code.
func TestSaslIsNotConfigured(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	shake := kmsg.NewPtrSASLHandshakeRequest()
	shake.Mechanism = "PLAIN"
	for v := range lookupAPI(keySaslHandshake).max + 1 {
		if got := roundTrip[*kmsg.SASLHandshakeResponse](w, shake, v); got.ErrorCode != unsupportedSaslMechanism || len(got.SupportedMechanisms) != 0 {
			t.Errorf("v%d: %+v", v, got)
		}
	}
	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.SASLAuthBytes = []byte("\x00me\x00secret")
	for v := range lookupAPI(keySaslAuthenticate).max + 1 {
		if got := roundTrip[*kmsg.SASLAuthenticateResponse](w, auth, v); got.ErrorCode != illegalSaslState || got.ErrorMessage == nil {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

// TestHostileFrames checks that a malformed frame ends its own connection and no other.
func TestHostileFrames(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	head := func(size int32, key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		return append(binary.BigEndian.AppendUint16(b, uint16(version)), rest...)
	}
	request := func(key Key, version int16, body ...byte) []byte {
		rest := append([]byte{0, 0, 0, 1, 0xff, 0xff}, body...) // correlation id 1, null client id
		return head(int32(4+len(rest)), int16(key), version, rest...)
	}
	endless := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	produce, fetch := produceTo(topic, 0, records("x")), fetchFrom(topic, 0, 0, 0)
	produce.SetVersion(9)
	fetch.SetVersion(12)
	cut := func(b []byte) []byte { // removes the last byte of a frame, and adjusts its size
		binary.BigEndian.PutUint32(b, uint32(len(b)-5))
		return b[:len(b)-1]
	}
	for name, frame := range map[string][]byte{
		"size 0, and nothing more":   {0, 0, 0, 0},
		"size -1, and nothing more":  {0xff, 0xff, 0xff, 0xff},
		"2 GiB, and nothing more":    {0x7f, 0xff, 0xff, 0xff},
		"size 0":                     head(0, 18, 0),
		"negative size":              head(-1, 18, 0),
		"size of nothing but a key":  head(4, 18, 0),
		"2 GiB":                      head(1<<31-1, 0, 9),
		"ApiVersions over 64 KiB":    head(1<<20, 18, 3),
		"Metadata over 1 MiB":        head(2<<20, 3, 9),
		"HTTP":                       []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":                        {0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 0},
		"unknown key":                request(9999, 0),
		"negative key":               request(-1, 0),
		"key of the controller":      request(4, 0),
		"version too new":            request(keyMetadata, 99),
		"version too old":            request(keyFetch, 3),
		"negative version":           request(keyMetadata, -1),
		"client id beyond the frame": head(10, 3, 1, 0, 0, 0, 1, 0x7f, 0xff),
		"tags in the header":         request(keyMetadata, 9, endless...),
		"ApiVersions of tags":        request(keyApiVersions, 3, append([]byte{0, 2, 'a', 2, '1'}, endless...)...),
		"Metadata of 2^31 topics":    request(keyMetadata, 1, 0x7f, 0xff, 0xff, 0xff),
		"Produce of 2^31 topics":     request(keyProduce, 3, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff),
		"Produce cut short":          cut(frameOf(produce, 1)),
		"Fetch cut short":            cut(frameOf(fetch, 1)),
		"Sasl cut short":             request(keySaslHandshake, 1, 0, 9, 'P'),
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial()
			w.t = t
			w.write(frame)
			w.closedByServer()
		})
	}
	w := h.dial()
	if got := roundTrip[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0]; got.Offset != 0 {
		t.Errorf("a half-read frame was appended: %+v", got)
	}
	eventually(t, "the bytes of all frames to be given back", func() bool { return h.server.requestBytes.inUse() == 0 })
}

// TestMetadataOfLibrdkafka sends the Metadata request for all topics that librdkafka sends from version 9 on: it
// encodes the length of the null array in four bytes instead of one. The broker must ignore the three surplus bytes and
// answer (trap 22).
func TestMetadataOfLibrdkafka(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 1)
	for v := int16(9); v <= lookupAPI(keyMetadata).max; v++ {
		w := h.dial()
		req := kmsg.NewPtrMetadataRequest() // all topics
		req.SetVersion(v)
		frame := append(frameOf(req, 1), 0, 0, 0)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		w.write(frame)
		got := receive[*kmsg.MetadataResponse](w, req, 1)
		if len(got.Topics) != 1 || got.Topics[0].ErrorCode != none {
			t.Errorf("v%d: %+v", v, got.Topics)
		}
		roundTrip[*kmsg.ApiVersionsResponse](w, kmsg.NewPtrApiVersionsRequest(), 0)
	}
}

// TestTrailingBytesAreIgnored sends a request of every API and version with three bytes after its end, as Apache Kafka
// takes them: each must be answered, and so must the request after it (trap 22).
func TestTrailingBytesAreIgnored(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for _, row := range servedAPIs {
		for version := row.min; version <= row.max; version++ {
			req := kmsg.RequestForKey(int16(row.key))
			switch r := req.(type) {
			case *kmsg.ProduceRequest:
				req = produceTo(topic, 0, records("x"))
			case *kmsg.FetchRequest:
				req = fetchFrom(topic, 0, 0, 0)
			case *kmsg.ApiVersionsRequest:
				r.ClientSoftwareName, r.ClientSoftwareVersion = "test", "1"
			}
			req.SetVersion(version)
			w.next++
			frame := append(frameOf(req, w.next), 0, 0, 0)
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
			w.write(frame)
			correlation, body, err := w.tryRead()
			if err != nil || correlation != w.next {
				t.Fatalf("%s v%d: answer to %d, not to %d: %v", row.name, version, correlation, w.next, err)
			}
			if err := decodeResponse(req, body); err != nil {
				t.Errorf("%s v%d: %v", row.name, version, err)
			}
		}
	}
}

// decodeResponse decodes body as the response to req.
func decodeResponse(req kmsg.Request, body []byte) error {
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(keyApiVersions) {
		body = body[1:]
	}
	return resp.ReadFrom(body)
}

// TestDensestProduceAndFetchAreBounded checks that Produce and Fetch frames with as many elements as possible cost no
// more CPU and memory than other frames may.
func TestDensestProduceAndFetchAreBounded(t *testing.T) {
	h := newTestServer(t)
	h.topic("a", 1)
	for name, frame := range map[string][]byte{
		"Produce of empty partitions": dense(keyProduce, 9, []byte{0, 0xff, 0xff, 0, 0, 0, 0, 2, 2, 'a'}, []byte{0, 0, 0, 0, 0, 0}),
		"Fetch of one partition":      dense(keyFetch, 4, append(make([]byte, 17), 0, 0, 0, 1, 0, 1, 'a'), make([]byte, 16)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := h.dial()
		w.write(frame)
		w.closedByServer()
		runtime.ReadMemStats(&after)
		if heap := after.TotalAlloc - before.TotalAlloc; heap > 8*testFrameCap {
			t.Errorf("%s: a frame of %d bytes cost %d", name, len(frame), heap)
		}
	}
}

// dense returns a frame of about 1 MiB that consists of before and an array with as many copies of element as fit.
func dense(key Key, version int16, before, element []byte) []byte {
	n := (testFrameCap - 64) / len(element)
	b := []byte{0, 0, 0, 0, 0, byte(key), 0, byte(version), 0, 0, 0, 1, 0xff, 0xff}
	if version >= lookupAPI(key).flexible {
		b = append(b, 0) // tagged fields of the header
		b = append(b, before...)
		b = binary.AppendUvarint(b, uint64(n+1))
	} else {
		b = append(b, before...)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, bytes.Repeat(element, n)...)
	if version >= lookupAPI(key).flexible {
		b = append(b, 0, 0) // tagged fields of the topic and of the request
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// TestRandomFrames sends random requests of every API and version, most of them with flipped bits after the header. The
// server must go on, and no connection may remain.
func TestRandomFrames(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 1)
	rng := seeded(t)
	for range 300 {
		row := servedAPIs[rng.IntN(len(servedAPIs))]
		version := row.min + int16(rng.IntN(int(row.max-row.min)+1))
		req := randomRequest(rng, row.key, version)
		switch r := req.(type) { // requests that could wait, or create thousands of partitions
		case *kmsg.JoinGroupRequest, *kmsg.CreateTopicsRequest, *kmsg.CreatePartitionsRequest:
			continue
		case *kmsg.FetchRequest:
			r.MaxWaitMillis = 0
		}
		frame := frameOf(req, 1)
		if flips := rng.IntN(3); flips > 0 && len(frame) > 14 {
			for range flips {
				frame[12+rng.IntN(len(frame)-12)] ^= byte(1 << rng.IntN(8))
			}
		}
		w := h.dial()
		w.write(frame)
		w.net.(*net.TCPConn).CloseWrite()
		w.closedByServer()
	}
	w := h.dial()
	if got := roundTrip[*kmsg.ApiVersionsResponse](w, kmsg.NewPtrApiVersionsRequest(), 0); got.ErrorCode != none {
		t.Errorf("%+v", got)
	}
	eventually(t, "all connections but one to end", func() bool { return h.server.Connections() == 1 })
	eventually(t, "all bytes to be given back", func() bool {
		return h.server.requestBytes.inUse() == 0 && h.server.responseBytes.used.Load() == 0
	})
}

// TestTooManyConnections checks that a connection over the limit is closed at once, and that there is room again when
// another ends.
func TestTooManyConnections(t *testing.T) {
	h := newTestServer(t, func(c *Config) { c.MaxConnections = 2 })
	hello := kmsg.NewPtrApiVersionsRequest()
	first, second := h.dial(), h.dial()
	roundTrip[*kmsg.ApiVersionsResponse](first, hello, 0)
	roundTrip[*kmsg.ApiVersionsResponse](second, hello, 0)
	h.dial().closedByServer()
	first.net.Close()
	eventually(t, "room", func() bool { return h.server.Connections() == 1 })
	roundTrip[*kmsg.ApiVersionsResponse](h.dial(), hello, 0)
}

// TestIdleTimeout checks that an idle connection is closed, and that one with a waiting Fetch is not.
func TestIdleTimeout(t *testing.T) {
	h := newTestServer(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	topic := h.topic("orders", 1)
	idle := h.dial()
	roundTrip[*kmsg.ApiVersionsResponse](idle, kmsg.NewPtrApiVersionsRequest(), 0)
	poller := h.dial()
	req := fetchFrom(topic, 0, 0, 300*time.Millisecond)
	req.SetVersion(12)
	correlation := poller.send(req)
	idle.closedByServer()
	receive[*kmsg.FetchResponse](poller, req, correlation)
}

// TestInFlightBytesAreBounded has a client send more than MaxConnectionBytes of requests. The server must stop reading
// until earlier requests are handled, and then answer all of them.
func TestInFlightBytesAreBounded(t *testing.T) {
	const frameCap = 64 << 10
	h := newTestServer(t, func(c *Config) { c.MaxFrameBytes, c.MaxRequestBytes, c.MaxInFlightBytes = frameCap, frameCap, frameCap })
	topic := h.topic("orders", 1)
	w := h.dial()
	poll := fetchFrom(topic, 0, 0, time.Minute) // the requests after it wait in the queue
	poll.SetVersion(12)
	reqs := []kmsg.Request{poll}
	frames := frameOf(poll, 0)
	const requestBytes = 20_000
	for i := range 30 {
		req := produceTo(topic, 0, records(string(bytes.Repeat([]byte("x"), requestBytes))))
		req.SetVersion(9)
		reqs, frames = append(reqs, req), append(frames, frameOf(req, int32(i+1))...)
	}
	var sending sync.WaitGroup
	sending.Go(func() { w.write(frames) }) // blocks when the server stops reading
	defer sending.Wait()
	inUse := func() int64 {
		used := h.server.requestBytes.inUse()
		if used > frameCap {
			t.Errorf("%d bytes are in use, at most %d are allowed", used, frameCap)
		}
		return used
	}
	eventually(t, "the budget to be used up", func() bool { return inUse() > frameCap-requestBytes-1000 })
	h.engine.Append(engine.Partition{Topic: topic.ID}, records("ends the poll"), func(engine.Appended) {})
	for i, req := range reqs {
		receive[kmsg.Response](w, req, int32(i))
		inUse()
	}
}

// TestAdvertisedAddress checks that clients are told the address that they dialled, unless another is configured (trap
// 21).
func TestAdvertisedAddress(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 19092}
	six := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 9092}
	unix := &net.UnixAddr{Name: "/x/tidings.sock", Net: "unix"}
	for _, c := range []struct {
		configured string
		dialled    net.Addr
		host       string
		port       int32
	}{
		{"", tcp, "192.0.2.7", 19092},
		{"", six, "2001:db8::1", 9092},
		{"", unix, "tidings", 9092},
		{"log.example:9093", tcp, "log.example", 9093},
		{"log.example", tcp, "log.example", 19092},
		{"log.example:0", tcp, "log.example", 19092},
		{"[2001:db8::2]:1", unix, "2001:db8::2", 1},
	} {
		if host, port := advertisedAddress(c.configured, c.dialled); host != c.host || port != c.port {
			t.Errorf("%q for %v: %s:%d, want %s:%d", c.configured, c.dialled, host, port, c.host, c.port)
		}
	}

	h := newTestServer(t)
	w := h.dial()
	want := w.net.RemoteAddr().(*net.TCPAddr)
	for v := range lookupAPI(keyMetadata).max + 1 {
		got := roundTrip[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), v)
		if len(got.Brokers) != 1 || got.Brokers[0].Host != "127.0.0.1" || got.Brokers[0].Port != int32(want.Port) {
			t.Errorf("v%d: %+v", v, got.Brokers)
		}
	}
	if !slices.Equal([]string{PeerHost(tcp), PeerHost(unix)}, []string{"/192.0.2.7", "/local"}) {
		t.Error("hosts:", PeerHost(tcp), PeerHost(unix))
	}
}
