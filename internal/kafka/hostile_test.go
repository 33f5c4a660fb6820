package kafka

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A stranger's first words: every version of ApiVersions, and those that do not exist yet.
func TestApiVersions(t *testing.T) {
	h := newHouse(t)
	hello := kmsg.NewPtrApiVersionsRequest()
	hello.ClientSoftwareName, hello.ClientSoftwareVersion = "test", "1.0"
	for v := range lookup(keyApiVersions).max + 1 {
		got := ask[*kmsg.ApiVersionsResponse](h.dial(), hello, v)
		if got.ErrorCode != none || len(got.ApiKeys) != len(table) || len(got.FinalizedFeatures) != 0 {
			t.Errorf("v%d: %+v", v, got)
		}
		for i, key := range got.ApiKeys {
			if want := table[i]; key.ApiKey != int16(want.key) || key.MinVersion != want.min || key.MaxVersion != want.max {
				t.Errorf("v%d: %+v, want %+v", v, key, want)
			}
		}
	}

	// Trap 1: an unknown version is answered in version 0, with the error and the list; the connection goes on.
	w := h.dial()
	frame := frameOf(hello, 7)
	binary.BigEndian.PutUint16(frame[6:], 99)
	w.write(frame)
	correlation, body := w.read()
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(body); err != nil || correlation != 7 {
		t.Fatal(correlation, err)
	}
	if resp.ErrorCode != unsupportedVersion || len(resp.ApiKeys) != len(table) {
		t.Errorf("%+v", resp)
	}
	if got := ask[*kmsg.ApiVersionsResponse](w, hello, 0); got.ErrorCode != none {
		t.Errorf("the second try: %+v", got)
	}

	// Case: a name that KIP-511 does not allow.
	hello.ClientSoftwareName = "-x"
	if got := ask[*kmsg.ApiVersionsResponse](w, hello, 3); got.ErrorCode != invalidRequest {
		t.Errorf("%+v", got)
	}
}

// Authentication is not configured, and says so.
func TestSaslIsNotConfigured(t *testing.T) {
	h := newHouse(t)
	w := h.dial()
	shake := kmsg.NewPtrSASLHandshakeRequest()
	shake.Mechanism = "PLAIN"
	for v := range lookup(keySaslHandshake).max + 1 {
		if got := ask[*kmsg.SASLHandshakeResponse](w, shake, v); got.ErrorCode != unsupportedSaslMechanism || len(got.SupportedMechanisms) != 0 {
			t.Errorf("v%d: %+v", v, got)
		}
	}
	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.SASLAuthBytes = []byte("\x00me\x00secret")
	for v := range lookup(keySaslAuthenticate).max + 1 {
		if got := ask[*kmsg.SASLAuthenticateResponse](w, auth, v); got.ErrorCode != illegalSaslState || got.ErrorMessage == nil {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

// What cannot be read ends its own connection, and nothing else.
func TestHostileFrames(t *testing.T) {
	h := newHouse(t)
	topic := h.topic("orders", 1)
	head := func(size int32, key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		return append(binary.BigEndian.AppendUint16(b, uint16(version)), rest...)
	}
	request := func(key Key, version int16, body ...byte) []byte {
		rest := append([]byte{0, 0, 0, 1, 0xff, 0xff}, body...) // correlation 1, no client id
		return head(int32(4+len(rest)), int16(key), version, rest...)
	}
	endless := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	produce, fetch := produceTo(topic, 0, records("x")), fetchFrom(topic, 0, 0, 0)
	produce.SetVersion(9)
	fetch.SetVersion(12)
	cut := func(b []byte) []byte { // one byte less, and a size that agrees
		binary.BigEndian.PutUint32(b, uint32(len(b)-5))
		return b[:len(b)-1]
	}
	for name, frame := range map[string][]byte{
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
		"Metadata with a byte more":  request(keyMetadata, 1, 0, 0, 0, 0, 0),
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
	if got := ask[*kmsg.ListOffsetsResponse](w, latest(topic), 7).Topics[0].Partitions[0]; got.Offset != 0 {
		t.Errorf("a half-read frame was appended: %+v", got)
	}
	eventually(t, "the bytes of all frames to be given back", func() bool { return h.server.frames.inUse() == 0 })
}

// The densest Produce and Fetch frames cost no more than any other.
func TestDensestProduceAndFetchAreBounded(t *testing.T) {
	h := newHouse(t)
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

// dense is a frame of about 1 MiB whose one array is full of the smallest elements there are.
func dense(key Key, version int16, before, element []byte) []byte {
	n := (testFrameCap - 64) / len(element)
	b := []byte{0, 0, 0, 0, 0, byte(key), 0, byte(version), 0, 0, 0, 1, 0xff, 0xff}
	if version >= lookup(key).flexible {
		b = append(b, 0) // header tags
		b = append(b, before...)
		b = binary.AppendUvarint(b, uint64(n+1))
	} else {
		b = append(b, before...)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, bytes.Repeat(element, n)...)
	if version >= lookup(key).flexible {
		b = append(b, 0, 0) // tags of topic and request
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// Random bytes after a good header never harm the server, whatever the key and version.
func TestRandomFrames(t *testing.T) {
	h := newHouse(t)
	h.topic("orders", 1)
	rng := seeded(t)
	for range 300 {
		row := table[rng.IntN(len(table))]
		version := row.min + int16(rng.IntN(int(row.max-row.min)+1))
		req := randomRequest(rng, row.key, version)
		switch r := req.(type) { // those that may wait, or make thousands of partitions
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
	if got := ask[*kmsg.ApiVersionsResponse](w, kmsg.NewPtrApiVersionsRequest(), 0); got.ErrorCode != none {
		t.Errorf("%+v", got)
	}
	eventually(t, "all connections but one to end", func() bool { return h.server.Connections() == 1 })
	eventually(t, "all bytes to be given back", func() bool {
		return h.server.frames.inUse() == 0 && h.server.replies.used.Load() == 0
	})
}

// A connection over the limit is closed at once; when one ends there is room again.
func TestTooManyConnections(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxConnections = 2 })
	hello := kmsg.NewPtrApiVersionsRequest()
	first, second := h.dial(), h.dial()
	ask[*kmsg.ApiVersionsResponse](first, hello, 0)
	ask[*kmsg.ApiVersionsResponse](second, hello, 0)
	h.dial().closedByServer()
	first.net.Close()
	eventually(t, "room", func() bool { return h.server.Connections() == 1 })
	ask[*kmsg.ApiVersionsResponse](h.dial(), hello, 0)
}

// An idle connection is closed; one that waits for a long answer is not.
func TestIdleTimeout(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
	topic := h.topic("orders", 1)
	idle := h.dial()
	ask[*kmsg.ApiVersionsResponse](idle, kmsg.NewPtrApiVersionsRequest(), 0)
	poller := h.dial()
	req := fetchFrom(topic, 0, 0, 300*time.Millisecond)
	req.SetVersion(12)
	correlation := poller.send(req)
	idle.closedByServer()
	receive[*kmsg.FetchResponse](poller, req, correlation)
}

// The bytes that wait to be handled are bounded: a client that sends more has to wait, and gets all its answers.
func TestInFlightBytesAreBounded(t *testing.T) {
	const frameCap = 64 << 10
	h := newHouse(t, func(c *Config) { c.MaxFrameBytes, c.MaxRequestBytes, c.MaxInFlightBytes = frameCap, frameCap, frameCap })
	topic := h.topic("orders", 1)
	w := h.dial()
	poll := fetchFrom(topic, 0, 0, 200*time.Millisecond) // what comes after it has to queue
	poll.SetVersion(12)
	ids := []int32{w.send(poll)}
	reqs := []kmsg.Request{poll}
	go func() {
		for eventuallyHeld := 0; eventuallyHeld < 200; eventuallyHeld++ {
			if used := h.server.frames.inUse(); used > frameCap {
				t.Errorf("%d bytes held, at most %d are allowed", used, frameCap)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for range 30 {
		req := produceTo(topic, 0, records(string(bytes.Repeat([]byte("x"), 20_000))))
		req.SetVersion(9)
		ids, reqs = append(ids, w.send(req)), append(reqs, req)
	}
	for i := range ids {
		receive[kmsg.Response](w, reqs[i], ids[i])
	}
}

// Clients are told the address that they dialled (trap 21), unless one is configured.
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
		if host, port := advertise(c.configured, c.dialled); host != c.host || port != c.port {
			t.Errorf("%q for %v: %s:%d, want %s:%d", c.configured, c.dialled, host, port, c.host, c.port)
		}
	}

	h := newHouse(t)
	w := h.dial()
	want := w.net.RemoteAddr().(*net.TCPAddr)
	for v := range lookup(keyMetadata).max + 1 {
		got := ask[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), v)
		if len(got.Brokers) != 1 || got.Brokers[0].Host != "127.0.0.1" || got.Brokers[0].Port != int32(want.Port) {
			t.Errorf("v%d: %+v", v, got.Brokers)
		}
	}
	if !slices.Equal([]string{hostOf(tcp), hostOf(unix)}, []string{"/192.0.2.7", "/local"}) {
		t.Error("hosts:", hostOf(tcp), hostOf(unix))
	}
}
