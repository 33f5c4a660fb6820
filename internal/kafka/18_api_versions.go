package kafka

import "fmt"

// ApiVersions (API key 18), versions 0–4. It is decoded by hand, because it is the first request that a client sends.
// An unknown version is answered in version 0 with UNSUPPORTED_VERSION and the list of APIs, so that the client can
// choose a version that both know (KIP-511; docs/kafka-traps.md, trap 1). The one finalized feature is
// transaction.version, by which clients choose the protocol of transactions (KIP-890).
//
// Deviations from Apache Kafka: the answer to an unknown version lists all APIs; Apache Kafka lists ApiVersions alone.

// apiVersions answers with the APIs and versions in servedAPIs. It returns an error, which must end the connection, for
// a malformed request.
func (c *conn) apiVersions(f *frame) error {
	code := none
	if f.version < f.api.min || f.version > f.api.max {
		code, f.version = unsupportedVersion, 0 // the body is not read
	} else if f.version >= 3 {
		d := requestDecoder{rest: f.body, flexible: true}
		name, version := d.str(), d.str()
		d.skipTags()
		if !d.ok() {
			return fmt.Errorf("%w: ApiVersions version %d", ErrMalformed, f.version)
		}
		if !softwareName(name) || !softwareName(version) {
			code = invalidRequest
		}
	}
	e := responseEncoder{flexible: f.version >= f.api.flexible, buf: make([]byte, 0, 16+7*len(servedAPIs))}
	e.int16(code)
	if code == invalidRequest {
		e.array(0)
	} else {
		e.array(len(servedAPIs))
		for i := range servedAPIs {
			e.int16(int16(servedAPIs[i].key))
			e.int16(servedAPIs[i].min)
			e.int16(servedAPIs[i].max)
			e.noTags()
		}
	}
	if f.version >= 1 {
		e.int32(0) // throttle
	}
	if f.version >= 3 && code == none {
		appendFeatures(&e)
	} else {
		e.noTags()
	}
	c.send(f, e.buf)
	return nil
}

// transactionVersion is the level of the feature transaction.version: each end of a transaction raises the epoch.
const transactionVersion = 2

// appendFeatures appends the tagged fields 0 to 2: the supported features, the epoch of the finalized ones, and the
// finalized features.
func appendFeatures(e *responseEncoder) {
	const name = "transaction.version"
	feature := responseEncoder{flexible: true}
	feature.array(1)
	feature.str([]byte(name))
	from := len(feature.buf)
	feature.int16(0)
	feature.int16(transactionVersion)
	feature.noTags()
	e.uvarint(3)
	e.uvarint(0)
	e.uvarint(len(feature.buf))
	e.buf = append(e.buf, feature.buf...)
	e.uvarint(1)
	e.uvarint(8)
	e.int64(0)
	feature.buf = feature.buf[:from]
	feature.int16(transactionVersion) // the highest level, then the lowest
	feature.int16(transactionVersion)
	feature.noTags()
	e.uvarint(2)
	e.uvarint(len(feature.buf))
	e.buf = append(e.buf, feature.buf...)
}

// softwareName reports whether s is a client software name or version that KIP-511 allows: letters, digits, dots and
// dashes, with a letter or digit at both ends.
func softwareName(s []byte) bool {
	for i, b := range s {
		alphanumeric := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !alphanumeric && (i == 0 || i == len(s)-1 || b != '.' && b != '-') {
			return false
		}
	}
	return len(s) > 0
}
