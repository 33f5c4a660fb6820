package kafka

import "fmt"

// ApiVersions, versions 0–4, decoded by hand: it is what a stranger sends first. A version that is not known is answered
// in version 0 with UNSUPPORTED_VERSION and the list, so that any client can find a common tongue (KIP-511). No feature
// is claimed, finalized or supported, that is not there: see table.

func (c *conn) apiVersions(f *frame) error {
	code := none
	if f.version < f.api.min || f.version > f.api.max {
		code, f.version = unsupportedVersion, 0 // whatever its body says
	} else if f.version >= 3 {
		d := decoder{rest: f.body, flexible: true}
		name, version := d.str(), d.str()
		d.skipTags()
		if !d.done() {
			return fmt.Errorf("%w: ApiVersions version %d", ErrMalformed, f.version)
		}
		if !softwareName(name) || !softwareName(version) {
			code = invalidRequest
		}
	}
	e := encoder{flexible: f.version >= f.api.flexible, buf: make([]byte, 0, 16+7*len(table))}
	e.int16(code)
	if code == invalidRequest {
		e.array(0)
	} else {
		e.array(len(table))
		for i := range table {
			e.int16(int16(table[i].key))
			e.int16(table[i].min)
			e.int16(table[i].max)
			e.noTags()
		}
	}
	if f.version >= 1 {
		e.int32(0) // throttle
	}
	e.noTags()
	c.send(f, e.buf)
	return nil
}

// softwareName reports whether s is a name by KIP-511: letters, digits, dots and dashes, not at its ends.
func softwareName(s []byte) bool {
	for i, b := range s {
		alphanumeric := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !alphanumeric && (i == 0 || i == len(s)-1 || b != '.' && b != '-') {
			return false
		}
	}
	return len(s) > 0
}
