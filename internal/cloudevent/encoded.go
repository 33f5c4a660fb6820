package cloudevent

// Encoded is the data of a fact that a program has as JSON already, with what it is about. An emission of an Encoded takes JSON as
// it stands: it neither checks, copies nor compacts it. Other types of data are encoded with encoding/json.
type Encoded struct {
	// JSON is one JSON value in UTF-8, which whoever made the Encoded has checked. It must not be changed afterwards: it becomes the
	// value of a record.
	JSON []byte
	// Subject is what the event is about; empty if it has no subject.
	Subject string
}
