package kafka

// Key names an API of the Kafka protocol.
type Key int16

// The APIs that this front end serves.
const (
	keyProduce              Key = 0
	keyFetch                Key = 1
	keyListOffsets          Key = 2
	keyMetadata             Key = 3
	keyOffsetCommit         Key = 8
	keyOffsetFetch          Key = 9
	keyFindCoordinator      Key = 10
	keyJoinGroup            Key = 11
	keyHeartbeat            Key = 12
	keyLeaveGroup           Key = 13
	keySyncGroup            Key = 14
	keyDescribeGroups       Key = 15
	keyListGroups           Key = 16
	keySaslHandshake        Key = 17
	keyApiVersions          Key = 18
	keyCreateTopics         Key = 19
	keyDeleteTopics         Key = 20
	keyDeleteRecords        Key = 21
	keyInitProducerID       Key = 22
	keyOffsetForLeaderEpoch Key = 23
	keyDescribeConfigs      Key = 32
	keyAlterConfigs         Key = 33
	keySaslAuthenticate     Key = 36
	keyCreatePartitions     Key = 37
	keyDeleteGroups         Key = 42
	keyIncrementalConfigs   Key = 44
	keyOffsetDelete         Key = 47
	keyDescribeCluster      Key = 60
)

// never stands for a version that no request reaches: an API without flexible versions.
const never = int16(1<<15 - 1)

// versions says which versions of one API are spoken.
type versions struct {
	key      Key
	name     string
	min, max int16 // advertised and decoded, both included
	flexible int16 // the first version with compact fields and tags (KIP-482), or never
}

// table is what ApiVersions answers, in order of key.
//
// Produce is advertised from 0 though nothing below 3 is accepted, since librdkafka before 2.11.1 turns compression
// off when it sees a higher minimum (KIP-896 keeps this door open, too). Transactions (24–28), the consumer protocol of
// KIP-848 (68, 69) and the finalized features that go with them are not listed: clients choose their behaviour by this.
var table = [...]versions{
	{keyProduce, "Produce", 0, 13, 9},
	{keyFetch, "Fetch", 4, 18, 12},
	{keyListOffsets, "ListOffsets", 1, 11, 6},
	{keyMetadata, "Metadata", 0, 13, 9},
	{keyOffsetCommit, "OffsetCommit", 2, 10, 8},
	{keyOffsetFetch, "OffsetFetch", 1, 10, 6},
	{keyFindCoordinator, "FindCoordinator", 0, 6, 3},
	{keyJoinGroup, "JoinGroup", 0, 9, 6},
	{keyHeartbeat, "Heartbeat", 0, 4, 4},
	{keyLeaveGroup, "LeaveGroup", 0, 5, 4},
	{keySyncGroup, "SyncGroup", 0, 5, 4},
	{keyDescribeGroups, "DescribeGroups", 0, 6, 5},
	{keyListGroups, "ListGroups", 0, 5, 3},
	{keySaslHandshake, "SaslHandshake", 0, 1, never},
	{keyApiVersions, "ApiVersions", 0, 4, 3},
	{keyCreateTopics, "CreateTopics", 2, 7, 5},
	{keyDeleteTopics, "DeleteTopics", 1, 6, 4},
	{keyDeleteRecords, "DeleteRecords", 0, 2, 2},
	{keyInitProducerID, "InitProducerId", 0, 5, 2},
	{keyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 4},
	{keyDescribeConfigs, "DescribeConfigs", 1, 4, 4},
	{keyAlterConfigs, "AlterConfigs", 0, 2, 2},
	{keySaslAuthenticate, "SaslAuthenticate", 0, 2, 2},
	{keyCreatePartitions, "CreatePartitions", 0, 3, 2},
	{keyDeleteGroups, "DeleteGroups", 0, 2, 2},
	{keyIncrementalConfigs, "IncrementalAlterConfigs", 0, 1, 1},
	{keyOffsetDelete, "OffsetDelete", 0, 0, never},
	{keyDescribeCluster, "DescribeCluster", 0, 2, 0},
}

// minProduce is the first Produce version that carries record batches v2; older ones are answered with an error.
const minProduce = 3

// byKey finds an API's row in table in one step.
var byKey = func() (rows [64]*versions) {
	for i := range table {
		rows[table[i].key] = &table[i]
	}
	return rows
}()

// lookup returns the row of key, or nil for an API that is not served.
func lookup(key Key) *versions {
	if key < 0 || int(key) >= len(byKey) {
		return nil
	}
	return byKey[key]
}
