// Package kgolink makes kgo clients, which are Kafka clients, for the log of a [tidings.Connection]. It is for
// programs that want a Kafka client of their own beside package tidings, for example to administer topics, or to read
// records that are not facts.
//
//	link, err := connection.Connect(ctx)
//	if err != nil {
//		return err
//	}
//	if link.Close != nil {
//		defer link.Close()
//	}
//	client, err := kgo.NewClient(kgolink.Options(link)...)
//
// It is separate from package tidings so that the signatures of that package have no types of kgo.
package kgolink

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/logclient"
)

// Options returns the options with which a kgo client reaches the log of link: its addresses, and the way it dials.
// The caller may append further options, and must close the client before the link.
func Options(link *tidings.Link) []kgo.Opt {
	return logclient.Dialing(link.Addresses, link.Dial)
}
