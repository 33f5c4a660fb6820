package meta

import "strings"

// maxNameBytes is Kafka's limit: a directory "<name>-<partition>" must fit a file name of 255.
const maxNameBytes = 249

// CheckName says whether a topic may have this name: 1 to 249 of [a-zA-Z0-9._-], not "." or "..". The error is an
// *InvalidError of ErrInvalidTopic.
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

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// collisionKey is equal for names that Kafka takes for one, since its metric names turn "." into "_". A log moved to a
// Kafka cluster must find its topics creatable there.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }
