package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeAcls, CreateAcls and DeleteAcls (API keys 29, 30 and 31), versions 1–3. There is no authorization, so that each is
// answered with SECURITY_DISABLED, as Apache Kafka without an authorizer does.

// noAuthorizer is the text of the answers to the APIs of access control lists.
const noAuthorizer = "there is no authorization on this broker"

func (c *conn) describeACLs(r *kmsg.DescribeACLsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeACLsResponse)
	resp.ErrorCode, resp.ErrorMessage = securityDisabled, kmsg.StringPtr(noAuthorizer)
	return resp
}

func (c *conn) createACLs(r *kmsg.CreateACLsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.CreateACLsResponse)
	for range r.Creations {
		resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: securityDisabled, ErrorMessage: kmsg.StringPtr(noAuthorizer)})
	}
	return resp
}

func (c *conn) deleteACLs(r *kmsg.DeleteACLsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DeleteACLsResponse)
	for range r.Filters {
		resp.Results = append(resp.Results, kmsg.DeleteACLsResponseResult{ErrorCode: securityDisabled, ErrorMessage: kmsg.StringPtr(noAuthorizer)})
	}
	return resp
}
