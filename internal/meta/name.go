package meta

import "strings"

// maxNameBytes is Kafka's limit for the length of a topic's name: in Kafka the directory "<name>-<partition>" must fit
// 255 bytes.
const maxNameBytes = 249

// CheckName returns nil if a topic may have the name: 1 to 249 characters of [a-zA-Z0-9._-], and neither "." nor "..".
// Otherwise it returns an *InvalidError that matches ErrInvalidTopic.
func CheckName(name string) error {
	switch {
	case name == "":
		return invalid(ErrInvalidTopic, name, "it is empty")
	case name == "." || name == "..":
		return invalid(ErrInvalidTopic, name, "it would name a directory")
	case len(name) > maxNameBytes:
		return invalid(ErrInvalidTopic, name[:16]+"…", "%d bytes are more than %d", len(name), maxNameBytes)
	}
	for _, r := range name {
		if !nameRune(r) {
			return invalid(ErrInvalidTopic, name, "%q is not one of a-z A-Z 0-9 . _ -", r)
		}
	}
	return nil
}

// nameRune reports whether a topic's name may contain r.
func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// collisionKey returns the same key for names that may not exist at the same time. Kafka refuses such pairs because the
// names of its metrics have "_" in the place of ".". They are refused here so that all topics can also be created on a
// Kafka cluster.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }
