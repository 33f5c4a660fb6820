package logclient

import (
	"bytes"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Lister lists the topics of a log again and again, for a caller who wants to know of new ones. While the brokers' answer
// is the same, to the byte, it is not decoded: that of a log with thousands of partitions takes most of what an
// indexer costs that has nothing to do. It is not safe for concurrent use.
type Lister struct {
	client *Client
	keep   func(name string) bool

	answer  []byte   // the answer that listing is from, as it came; nil: there is none
	listing *Listing // nil if the answer had an error
}

// Lister returns a Lister of the topics whose names keep accepts; a nil keep accepts all. It does not ask the brokers.
func (c *Client) Lister(keep func(name string) bool) *Lister { return &Lister{client: c, keep: keep} }

// List returns what Topics returns. As long as the answer is the same, it returns the same Listing, which nobody may change.
func (l *Lister) List(ctx context.Context) (*Listing, error) {
	got, err := l.client.kgo.Request(ctx, &sameMetadata{kmsg.NewPtrMetadataRequest(), l.answer})
	if err != nil {
		return nil, err
	}
	resp := got.(*sameMetadataResponse)
	if !resp.same {
		l.answer, l.listing = nil, nil
		listing, err := listingOf(resp.MetadataResponse, l.keep)
		if err != nil {
			return nil, err
		}
		l.answer, l.listing = resp.answer, &listing
	}
	return l.listing, nil
}

// sameMetadata is a Metadata request for all topics, with an answer to it that is known. kgo sends it to any broker, as it
// does not know its type, and does not keep the answer.
type sameMetadata struct {
	*kmsg.MetadataRequest
	known []byte
}

// ResponseKind implements kmsg.Request.
func (r *sameMetadata) ResponseKind() kmsg.Response {
	return &sameMetadataResponse{MetadataResponse: r.MetadataRequest.ResponseKind().(*kmsg.MetadataResponse), known: r.known}
}

// sameMetadataResponse is the response to a sameMetadata. It is decoded only if it is not the one that is known.
type sameMetadataResponse struct {
	*kmsg.MetadataResponse
	known, answer []byte // answer is nil if same
	same          bool
}

// ReadFrom implements kmsg.Response.
func (r *sameMetadataResponse) ReadFrom(answer []byte) error {
	if r.same = r.known != nil && bytes.Equal(answer, r.known); r.same {
		return nil
	}
	r.answer = slices.Clone(answer)
	return r.MetadataResponse.ReadFrom(answer)
}
