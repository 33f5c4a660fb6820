package kafka

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// DescribeConfigs, versions 1–4, of topics and of this broker. Defaults are listed too (trap 17).

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
			continue // told once, so that the answer cannot outgrow what there is
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

func (c *conn) configsOf(ask *kmsg.DescribeConfigsRequestResource) (entries []meta.ConfigEntry, code Code, why string) {
	switch ask.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		topic, ok := c.server.engine.Topic(ask.ResourceName)
		if !ok {
			return nil, unknownTopicOrPartition, engine.ErrUnknownTopic.Error()
		}
		return meta.Describe(topic, c.server.config.TopicDefaults), none, ""
	case kmsg.ConfigResourceTypeBroker:
		if ask.ResourceName == "" {
			return nil, none, "" // the defaults of all brokers, of which none can be set
		}
		if id, err := strconv.Atoi(ask.ResourceName); err != nil || int32(id) != c.server.config.NodeID {
			return nil, invalidRequest, "there is no broker " + strconv.Quote(ask.ResourceName)
		}
		return meta.DescribeBroker(c.server.config.BrokerSettings), none, ""
	case kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return nil, none, "" // nothing can be set there, so that nothing is
	default:
		return nil, invalidRequest, "unknown kind of resource"
	}
}

// namedConfigs marks the entries that are asked for; nil names ask for all. Its size is that of entries, however many
// names a request has.
func namedConfigs(entries []meta.ConfigEntry, names []string) map[string]bool {
	wanted := make(map[string]bool, len(entries))
	for _, entry := range entries {
		wanted[entry.Name] = names == nil
	}
	for _, name := range names {
		if _, ok := wanted[name]; ok {
			wanted[name] = true
		}
	}
	return wanted
}

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

// configValue is a value as it may be told.
func configValue(entry meta.ConfigEntry) *string {
	if entry.Sensitive {
		return nil
	}
	return &entry.Value
}
