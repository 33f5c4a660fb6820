package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// UpdateFeatures (API key 57), versions 0–2. There are no features that can be finalized, so that every update is answered
// with INVALID_UPDATE_VERSION, as Apache Kafka answers one of a feature that it does not know.

func (c *conn) updateFeatures(r *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	if len(r.FeatureUpdates) > 0 {
		resp.ErrorCode, resp.ErrorMessage = invalidUpdateVersion, kmsg.StringPtr("this broker has no features that can be set")
	}
	return resp
}
