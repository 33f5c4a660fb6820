package kafka

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// DescribeConfigs (API key 32), versions 1–4, of topics and of this broker. Configurations that have their default
// value are listed, too (docs/kafka-traps.md, trap 17).
//
// Deviations from Apache Kafka: all configurations of the broker are read-only; broker loggers, client metrics and
// groups have no configurations; the only synonym of a value is the value itself.

// describeConfigs answers with the configurations of topics and of this broker.
func (c *conn) describeConfigs(r *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := make(map[resource]bool, len(r.Resources))
	for i := range r.Resources {
		ask := &r.Resources[i]
		key := resource{ask.ResourceType, ask.ResourceName}
		if seen[key] {
			continue // one row for each resource bounds the size of the response
		}
		seen[key] = true
		row := kmsg.NewDescribeConfigsResponseResource()
		row.ResourceType, row.ResourceName = ask.ResourceType, ask.ResourceName
		entries, code, why := c.configsOf(ask)
		if row.ErrorCode = code; code != none {
			row.ErrorMessage = &why
		}
		wanted := namedConfigs(entries, ask.ConfigNames)
		for _, entry := range entries {
			if wanted[entry.Name] {
				row.Configs = append(row.Configs, configRow(entry, r))
			}
		}
		resp.Resources = append(resp.Resources, row)
	}
	return resp
}

// configsOf returns the configurations of one resource, or a code other than none and the text of the reason.
func (c *conn) configsOf(ask *kmsg.DescribeConfigsRequestResource) (entries []meta.ConfigEntry, code Code, why string) {
	switch ask.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		topic, err := c.namedTopic(ask.ResourceName)
		if err != nil {
			return nil, topicCode(err), err.Error()
		}
		return meta.Describe(topic, c.server.config.TopicDefaults), none, ""
	case kmsg.ConfigResourceTypeBroker:
		if ask.ResourceName == "" {
			return nil, none, "" // the defaults of all brokers, which cannot be set
		}
		if id, err := strconv.Atoi(ask.ResourceName); err != nil || int32(id) != c.server.config.NodeID {
			return nil, invalidRequest, "there is no broker " + strconv.Quote(ask.ResourceName)
		}
		settings := c.server.config.BrokerSettings
		settings.MaxFetchSessions = c.server.config.MaxFetchSessions
		return meta.DescribeBroker(settings), none, ""
	case kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return nil, none, "" // they have no configurations
	default:
		return nil, invalidRequest, "unknown kind of resource"
	}
}

// namedConfigs returns, for the name of each entry, whether names contains it; null and no names stand for all. The map
// has no more elements than entries, even if the request has many names.
func namedConfigs(entries []meta.ConfigEntry, names []string) map[string]bool {
	wanted := make(map[string]bool, len(entries))
	for _, entry := range entries {
		wanted[entry.Name] = len(names) == 0
	}
	for _, name := range names {
		if _, ok := wanted[name]; ok {
			wanted[name] = true
		}
	}
	return wanted
}

// configRow returns the row of one configuration. row.Documentation points into the argument entry, which is a copy.
func configRow(entry meta.ConfigEntry, r *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	row := kmsg.NewDescribeConfigsResponseResourceConfig()
	row.Name, row.Value = entry.Name, configValue(entry)
	row.ReadOnly, row.IsSensitive, row.IsDefault = entry.ReadOnly, entry.Sensitive, entry.Default
	row.Source, row.ConfigType = kmsg.ConfigSource(entry.Source), kmsg.ConfigType(entry.Type)
	if r.IncludeSynonyms {
		row.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
			{Name: entry.Name, Value: configValue(entry), Source: kmsg.ConfigSource(entry.Source)},
		}
	}
	if r.IncludeDocumentation {
		row.Documentation = &entry.Doc
	}
	return row
}

// configValue returns the value of a configuration as a client may see it: nil if the value is sensitive.
func configValue(entry meta.ConfigEntry) *string {
	if entry.Sensitive {
		return nil
	}
	return &entry.Value
}
