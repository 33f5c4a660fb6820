package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeClientQuotas and AlterClientQuotas (API keys 48 and 49), versions 0–1. There are no quotas.
//
// Deviations from Apache Kafka: a quota cannot be set, which is answered with POLICY_VIOLATION.

// describeClientQuotas answers that no quota is set.
func (c *conn) describeClientQuotas(r *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for _, component := range r.Components {
		if !slices.Contains([]string{"user", "client-id", "ip"}, component.EntityType) {
			resp.ErrorCode, resp.ErrorMessage = unsupportedVersion, kmsg.StringPtr("unknown kind of entity")
			resp.Entries = nil
		}
	}
	return resp
}

// alterClientQuotas refuses every change.
func (c *conn) alterClientQuotas(r *kmsg.AlterClientQuotasRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	for _, ask := range r.Entries {
		row := kmsg.AlterClientQuotasResponseEntry{ErrorCode: policyViolation, ErrorMessage: kmsg.StringPtr("there are no quotas on this broker")}
		for _, entity := range ask.Entity {
			row.Entity = append(row.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: entity.Type, Name: entity.Name})
		}
		resp.Entries = append(resp.Entries, row)
	}
	return resp
}
