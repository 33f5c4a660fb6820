package kafka

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials and AlterUserScramCredentials (API keys 50 and 51), version 0. There are no users.
//
// Deviations from Apache Kafka: a credential cannot be set, which is answered with UNSUPPORTED_SASL_MECHANISM.

// describeUserSCRAMCredentials answers that none of the users has a credential.
func (c *conn) describeUserSCRAMCredentials(r *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	times := make(map[string]int, len(r.Users))
	for _, u := range r.Users {
		times[u.Name]++
	}
	for _, name := range slices.Sorted(maps.Keys(times)) {
		row := kmsg.DescribeUserSCRAMCredentialsResponseResult{User: name, ErrorCode: resourceNotFound, ErrorMessage: kmsg.StringPtr(noCredential)}
		if times[name] > 1 {
			row.ErrorCode, row.ErrorMessage = duplicateResource, kmsg.StringPtr("the request names this user more than once")
		}
		resp.Results = append(resp.Results, row)
	}
	return resp
}

// noCredential is the text of an answer about a user.
const noCredential = "there is no such credential"

// alterUserSCRAMCredentials refuses every change.
func (c *conn) alterUserSCRAMCredentials(r *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	for _, u := range r.Deletions {
		resp.Results = append(resp.Results, kmsg.AlterUserSCRAMCredentialsResponseResult{User: u.Name, ErrorCode: resourceNotFound, ErrorMessage: kmsg.StringPtr(noCredential)})
	}
	for _, u := range r.Upsertions {
		resp.Results = append(resp.Results, kmsg.AlterUserSCRAMCredentialsResponseResult{
			User: u.Name, ErrorCode: unsupportedSaslMechanism, ErrorMessage: kmsg.StringPtr("authentication is not configured on this broker"),
		})
	}
	return resp
}
